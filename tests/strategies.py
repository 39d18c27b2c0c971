# SPDX-License-Identifier: BSD-3-Clause
"""Arrays for properties: every shape, every magnitude from the least subnormal number to the largest, mixed dtypes."""

import math

import numpy as np
from dtypes import BF16, DTYPES, F32, F64, finfo
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp


def corner_values(dtype):
    """Positive finite numbers at which an implementation may go wrong, as Python floats."""
    info = finfo(dtype)
    least, tiny, eps, most = (float(x) for x in (info.smallest_subnormal, info.tiny, info.eps, info.max))
    root_most = float(np.sqrt(dtype.type(most)))
    return [
        least,
        3 * least,
        tiny - least,  # the largest subnormal number
        tiny,
        float(np.sqrt(dtype.type(tiny))),
        eps,
        1 - eps / 2,
        1.0,
        1 + eps,
        1 / eps,
        float(np.nextafter(dtype.type(root_most), dtype.type(0))),
        root_most,
        float(np.nextafter(dtype.type(root_most), dtype.type(math.inf))),
        most / 2,
        most,
    ]


def nonfinite_values():
    return [math.nan, math.inf, -math.inf]


def elements(dtype, *, nonfinite=False):
    """Elements of one dtype: ordinary numbers, any number at all, and corner values of both signs."""
    width = 32 if dtype == BF16 else dtype.itemsize * 8
    most = float(finfo(dtype).max)
    corners = [0.0, -0.0, *(sign * x for x in corner_values(dtype) for sign in (1, -1))]
    if nonfinite:
        corners += nonfinite_values()
    ordinary = st.integers(-(2**20), 2**20).map(lambda k: k / 4096)
    anything = st.floats(-most, most, width=width)
    if nonfinite:
        anything = st.one_of(anything, st.sampled_from(nonfinite_values()))
    return st.one_of(ordinary, anything, st.sampled_from(corners)).map(lambda x: float(dtype.type(x)))


def _dense(dtype, shape, elements):
    """Hypothesis' arrays, of bfloat16, too: those that it knows of f32, rounded."""
    if dtype == BF16:
        return hnp.arrays(F32, shape, elements=elements).map(lambda a: a.astype(BF16))
    return hnp.arrays(dtype, shape, elements=elements)


def arrays(dtypes=DTYPES, *, nonfinite=False, max_dims=3, max_side=9):
    """Arrays of any shape, 0-d and empty ones included, in C or Fortran order."""

    def of(dtype):
        shapes = hnp.array_shapes(min_dims=0, max_dims=max_dims, min_side=0, max_side=max_side)
        dense = _dense(dtype, shapes, elements(dtype, nonfinite=nonfinite))
        return st.one_of(dense, dense.map(np.asfortranarray))

    return st.sampled_from(dtypes).flatmap(of)


def array_lists(dtypes=DTYPES, *, nonfinite=False, max_size=5):
    """Lists of such arrays, empty ones included."""
    return st.lists(arrays(dtypes, nonfinite=nonfinite), max_size=max_size)


def vectors(dtypes=DTYPES, *, nonfinite=False, max_size=100):
    """Lists of one to three short vectors: 1- and 2-element ones, constants, and others."""

    def of(dtype):
        one = elements(dtype, nonfinite=nonfinite)
        constant = st.tuples(one, st.integers(1, max_size)).map(lambda t: np.full(t[1], t[0], dtype))
        short = st.lists(one, min_size=1, max_size=2).map(lambda v: np.array(v, dtype))
        longer = _dense(dtype, st.integers(1, max_size), one)
        return st.one_of(short, constant, longer)

    return st.lists(st.sampled_from(dtypes).flatmap(of), min_size=1, max_size=3)


def limits():
    """Limits of a norm: ordinary ones, any non-negative number, and the corners of f64."""
    corners = [0.0, *corner_values(F64), math.inf]
    return st.one_of(st.floats(1e-3, 1e3), st.floats(min_value=0.0, allow_nan=False), st.sampled_from(corners))


def fractions_of_norm():
    """What to multiply a norm with to get a limit: mostly just below or far below 1."""
    return st.one_of(st.floats(0.5, 0.9999), st.floats(1e-6, 1.0), st.sampled_from([1.0 - 2.0**-20, 0.5, 2.0**-101]))
