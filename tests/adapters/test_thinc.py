# SPDX-License-Identifier: BSD-3-Clause
"""fastclip.thinc beside thinc's own method."""

import math
import warnings

import numpy as np
import pytest
from oracle import same_bits

import fastclip

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from thinc.api import NumpyOps
    from thinc.backends.ops import Ops

    from fastclip.thinc import clip_gradient

OPS = NumpyOps()
stock = Ops.clip_gradient
U32 = 2.0**-24


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1,), (1000,), (30, 40), (0,)])
@pytest.mark.parametrize("threshold", [0.5, 1e9])
def test_gradients_are_clipped_in_place_as_thinc_does(dtype, shape, threshold):
    mine = np.asfortranarray(np.random.default_rng(0).standard_normal(shape).astype(dtype))
    theirs = mine.copy(order="K")
    calls = fastclip.show_config()["calls"]["native"]
    assert clip_gradient(OPS, mine, threshold) is mine
    assert fastclip.show_config()["calls"]["native"] == calls + 1
    stock(OPS, theirs, threshold)
    # 1,200 squares are added in f32, 1200 u of the sum and half of it of the norm; two roundings of a product
    unit = U32 if dtype == np.float32 else 2.0**-53
    assert np.allclose(mine, theirs, rtol=602 * unit, atol=0)


def test_gradients_that_leave_f32_are_right():
    gradient = np.array([3e20, 4e20], np.float32)
    assert np.allclose(clip_gradient(OPS, gradient, 1.0), [0.6, 0.8], rtol=4 * U32)
    zeros = clip_gradient(OPS, np.zeros(3, np.float32), 0.0)
    assert same_bits([zeros], [np.zeros(3, np.float32)])


@pytest.mark.parametrize("threshold", [1.0, 2, -1.0, math.nan, math.inf, np.float32(1.0)])
@pytest.mark.parametrize(
    "gradient",
    [
        np.array([3.0, math.nan], np.float32),
        np.array([3.0, math.inf], np.float32),
        np.array([3, 4]),
        np.array(5.0),
        np.ones(9, np.float32)[::2],
        np.ma.array([3.0, 4.0]),
        "gradient",
    ],
    ids=str,
)
def test_everything_else_is_thincs_result_or_error(gradient, threshold):
    def outcome(function):
        given = gradient.copy() if isinstance(gradient, np.ndarray) else gradient
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                return repr(function(OPS, given, threshold)), repr(given)
            except Exception as error:
                return type(error), str(error)

    assert outcome(clip_gradient) == outcome(stock)


def test_a_method_that_is_replaced_and_restored():
    with fastclip.patch("thinc"):
        assert Ops.clip_gradient is clip_gradient
        assert np.allclose(OPS.clip_gradient(np.array([3.0, 4.0]), 1.0), [0.6, 0.8], rtol=2.0**-51)
    assert Ops.clip_gradient is stock


def test_what_another_kind_of_ops_does_is_left_alone():
    from thinc.backends.cupy_ops import CupyOps

    before = CupyOps.clip_gradient
    with fastclip.patch("thinc"):
        assert CupyOps.clip_gradient is before
