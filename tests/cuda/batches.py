# SPDX-License-Identifier: BSD-3-Clause
"""Batches of rows, what clipping must make of them, and chips that keep more or fewer of them."""

import math

import numpy as np
import oracle
from dtypes import F64

from fastclip._backends.cuda import modules

#: the first part of the compute capability, and the bytes of shared memory that a block can have
H100 = 9, 227 * 1024
A100 = 8, 163 * 1024
LITTLE = 9, 48 * 1024  # no chip: one whose blocks can keep no row of more than 46 KB, but whose clusters can
OLD = 7, 48 * 1024  # nor its clusters, which it has not


def chip(cp, monkeypatch, major, shared):
    """Make the fake another chip, for which kernels are to be made ready again."""
    cp.cuda.major, cp.cuda.shared = major, shared
    monkeypatch.setattr(modules, "_kernels", {})


def batch(rows, count, dtype, step=0):
    """Rows with norms on both sides of 1, every second far away from it, `step` elements longer than they are."""
    rng = np.random.default_rng(rows + count)
    values = rng.uniform(-1.0, 1.0, (rows, count + step))
    values *= np.where(np.arange(rows) % 2, 0.25, 4.0)[:, None] / math.sqrt(count)
    return values.astype(dtype)[:, :count]


def copied(x):
    """Copy a batch with what is between its rows: each stays at its place within a vector of 16 bytes."""
    block = np.empty(x.base.nbytes + 16, np.uint8)
    start = -block.ctypes.data % 16
    copy = block[start : start + x.base.nbytes].view(x.dtype).reshape(x.base.shape)
    copy[...] = x.base
    return copy[:, : x.shape[1]]


def check_rows(before, after, limit):
    for x, y in zip(before, after, strict=True):
        norm = oracle.norm([x])
        if norm <= limit:
            assert oracle.same_bits(x, y)
            continue
        expected = x.astype(F64) * (limit / norm)
        least = float(oracle.finfo(x.dtype).smallest_subnormal)
        # a coefficient within 2^-24 (its norm), rounded to f32, and two roundings of the product
        allowed = (2 * float(oracle.UNIT[x.dtype]) + 2.0**-22) * np.abs(expected) + least
        assert (np.abs(y.astype(F64) - expected) <= allowed).all()
