# SPDX-License-Identifier: BSD-3-Clause
"""The contestants: the same work on the same memory, by fastclip and by what people use today.

All work in place on the arrays they are given, torch through `from_numpy`. So every contestant meets the same
addresses, page sizes (NumPy asks for huge pages from 4 MB on, torch by itself does not) and alignment.
"""

from __future__ import annotations

import functools
import importlib.util
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.cases import FloatArray, Workload

WRONG = 1e-5  # a relative error of the norm beyond this is called wrong: over a hundred roundings of an f32


@dataclass(frozen=True)
class Peer:
    """Bind a contestant's two operations to a list of arrays."""

    name: str
    clip_norm: Callable[[float], Any]  # takes the limit, returns the norm before clipping
    clip_value: Callable[[float], Any]  # takes the bound, clips to [-bound, bound]
    always_writes: bool = False  # multiplies by 1 within the limit, too


def _numpy_clip_norm(arrays: Sequence[FloatArray], limit: float) -> float:
    total = 0.0
    for array in arrays:
        flat = array.ravel()
        total += float(np.dot(flat, flat))
    norm = math.sqrt(total)
    if norm > limit:
        factor = np.float32(limit / norm)
        for array in arrays:
            np.multiply(array, factor, out=array)
    return norm


def _numpy_clip_value(arrays: Sequence[FloatArray], bound: float) -> None:
    for array in arrays:
        np.clip(array, -bound, bound, out=array)


def numpy_peer(arrays: Sequence[FloatArray]) -> Peer:
    """Bind the best NumPy idiom that people write."""
    return Peer(
        "numpy",
        functools.partial(_numpy_clip_norm, arrays),
        functools.partial(_numpy_clip_value, arrays),
    )


def torch_peer(arrays: Sequence[FloatArray]) -> Peer:
    """Bind torch's `clip_grad_norm_` and `clip_grad_value_`, called with a list of parameters."""
    import torch

    parameters = []
    for array in arrays:
        tensor = torch.from_numpy(array)
        parameter = torch.nn.Parameter(tensor)  # nobody looks at its values, so they may share the memory too
        parameter.grad = tensor
        parameters.append(parameter)
    return Peer(
        "torch",
        functools.partial(torch.nn.utils.clip_grad_norm_, parameters),
        functools.partial(torch.nn.utils.clip_grad_value_, parameters),
        always_writes=True,
    )


def fastclip_peer(arrays: Sequence[FloatArray]) -> Peer:
    """Bind fastclip's public functions."""
    import fastclip

    given = list(arrays)
    clip_by_value_ = fastclip.clip_by_value_
    return Peer(
        "fastclip",
        functools.partial(fastclip.clip_by_global_norm_, given),
        lambda bound: clip_by_value_(given, -bound, bound),
    )


PEERS: dict[str, Callable[[Sequence[FloatArray]], Peer]] = {
    "fastclip": fastclip_peer,
    "numpy": numpy_peer,
    "torch": torch_peer,
}


def installed() -> list[str]:
    """List the contestants that can be imported here."""
    return [name for name in PEERS if importlib.util.find_spec(name) is not None]


def exact_norm(arrays: Sequence[FloatArray]) -> float:
    """Return the norm with a relative error below 1e-14 (1e-17 where long double has 64 bits).

    The squares of f32 are exact in f64, and NumPy adds them pairwise.
    """
    total = np.longdouble(0)
    for array in arrays:
        flat = array.reshape(-1)
        for start in range(0, flat.size, 1 << 20):
            piece = flat[start : start + (1 << 20)].astype(np.float64)
            total += np.add.reduce(piece * piece, dtype=np.longdouble)
    return float(np.sqrt(total))


def norm_error(peer: Peer, exact: float) -> float:
    """Return the relative error of the norm that a peer reports; the arrays stay as they are."""
    return abs(float(peer.clip_norm(10 * exact)) - exact) / exact


def check_clipping(make: Callable[[Sequence[FloatArray]], Peer], workload: Workload) -> None:
    """Raise AssertionError unless a peer clips right: to the norm asked for, and to np.clip's very bits."""
    arrays = workload.arrays()
    exact = exact_norm(arrays)
    make(arrays).clip_norm(exact / 2)
    reached = exact_norm(arrays) / (exact / 2)
    assert abs(reached - 1) < WRONG, f"clipping by norm reached {reached} times the limit"

    bound = float(np.abs(arrays[0]).max()) / 2
    expected = [np.clip(array, -bound, bound) for array in arrays]
    make(arrays).clip_value(bound)
    for array, wanted in zip(arrays, expected, strict=True):
        assert array.tobytes() == wanted.tobytes(), "clipping by value differs from np.clip"
