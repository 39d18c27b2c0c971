# SPDX-License-Identifier: BSD-3-Clause
"""What the exact result of a clip is, and how far from it a rounded one may be."""

import os
from fractions import Fraction

import numpy as np
import oracle
import pytest
import scripts


def exact_norm(arrays):
    """The L2 norm of a list of arrays as a Fraction, below it by less than 2^-200 of it."""
    return oracle.root(oracle.sum_of_squares(arrays))


def check_scaled(actual, x, norm, limit, roundings=2):
    """Compare with x * limit / norm where norm > limit, else with x.

    Normal numbers only. The coefficient is rounded once to the dtype and each product once more:
    (1 + u)^2 - 1 < 2.01 u; what errors the norm has are 2^-9 of that and less (`oracle.norm_bound`).
    """
    assert (actual.dtype, actual.shape) == (x.dtype, x.shape)
    if norm <= limit:
        assert oracle.same_bits(actual, x)
        return
    allowed = (roundings + Fraction(1, 100)) * oracle.UNIT[x.dtype]
    for a, v in zip(actual.flat, x.flat, strict=True):
        expected = Fraction(float(v)) * Fraction(float(limit)) / norm
        assert abs(Fraction(float(a)) - expected) <= allowed * abs(expected), (a, float(expected))


@pytest.fixture(name="exact_norm")
def _exact_norm():
    return exact_norm


@pytest.fixture(name="check_scaled")
def _check_scaled():
    return check_scaled


@pytest.fixture(params=[np.float32, np.float64], ids=["f32", "f64"])
def dtype(request):
    return request.param


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the scripts are, and the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([scripts.PACKAGES, os.environ.get("PYTHONPATH", "")]))
    return tmp_path
