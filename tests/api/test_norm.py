# SPDX-License-Identifier: BSD-3-Clause
import math

import numpy as np
import oracle
import pytest

import fastclip

INF, NAN = math.inf, math.nan


def normal(shape, dtype=np.float64):
    return np.asarray(np.random.default_rng(5).normal(size=shape), dtype)


def calls():
    return fastclip.show_config()["calls"]


def check_like_numpy(ours, theirs):
    assert type(ours) is type(theirs)
    assert ours.dtype == theirs.dtype
    assert np.shape(ours) == np.shape(theirs)


NATIVE = [
    ((), {}),
    ((7,), {}),
    ((7,), {"ord": 2}),
    ((3, 5), {}),
    ((3, 5), {"ord": "fro"}),
    ((2, 3, 4), {}),
    ((0,), {}),
    ((3, 0), {}),
    ((20000,), {}),
    ((7,), {"keepdims": True}),
    ((3, 5), {"keepdims": True, "ord": "fro"}),
    ((2, 3, 4), {"keepdims": True}),
]


@pytest.mark.parametrize(("shape", "options"), NATIVE)
def test_the_l2_norm_is_ours_in_numpys_type(dtype, shape, options):
    x = normal(shape, dtype)
    before = calls()
    ours = fastclip.norm(x, **options)
    after = calls()
    assert after["delegated"] == before["delegated"]
    assert after["native"] + after["reference"] == before["native"] + before["reference"] + 1
    check_like_numpy(ours, np.linalg.norm(x, **options))
    exact = oracle.norm([x])
    # one rounding more, to the array's dtype
    assert abs(float(np.asarray(ours).item()) - exact) <= exact * (2.0**-24 if dtype is np.float32 else 2.0**-52)


DELEGATED = [
    ((7,), {"ord": 1}),
    ((7,), {"ord": INF}),
    ((7,), {"ord": -INF}),
    ((7,), {"ord": 0}),
    ((7,), {"ord": 3}),
    ((7,), {"ord": 0.5}),
    ((7,), {"axis": 0}),
    ((3, 5), {"ord": 2}),
    ((3, 5), {"ord": -2}),
    ((3, 5), {"ord": 1}),
    ((3, 5), {"ord": "nuc"}),
    ((3, 5), {"axis": 1}),
    ((3, 5), {"axis": (0, 1)}),
    ((3, 5), {"axis": (0, 1), "ord": "fro", "keepdims": True}),
    ((2, 3, 4), {"axis": (1, 2), "ord": 2}),
    ((2, 3, 4), {"axis": -1, "keepdims": True}),
]


@pytest.mark.parametrize(("shape", "options"), DELEGATED)
def test_everything_else_is_numpys_own(dtype, shape, options):
    x = normal(shape, dtype)
    before = calls()["delegated"]
    ours, theirs = fastclip.norm(x, **options), np.linalg.norm(x, **options)
    assert calls()["delegated"] == before + 1
    check_like_numpy(ours, theirs)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "x",
    [
        [3.0, 4.0],
        [3, 4],
        5.0,
        np.array([3, 4], np.int32),
        np.array([True, False]),
        np.array([3.0, 4.0], np.float16),
        np.array([3.0 + 4.0j]),
        np.array([3.0, 4.0], np.longdouble),
        np.array([3.0, 4.0], ">f8"),
        [[3.0, 4.0], [5.0, 6.0]],
    ],
    ids=repr,
)
def test_other_inputs_give_numpys_result(x):
    ours, theirs = fastclip.norm(x), np.linalg.norm(x)
    check_like_numpy(ours, theirs)
    np.testing.assert_allclose(ours, theirs, rtol=4 * np.finfo(theirs.dtype).eps)  # of 4 squares: 3 additions, a root


@pytest.mark.parametrize(
    ("x", "options"),
    [
        (np.ones(3), {"ord": "fro"}),
        (np.ones(3), {"ord": "nuc"}),
        (np.ones((2, 2)), {"ord": 3}),
        (np.ones((2, 2)), {"ord": "unknown"}),
        (np.ones((2, 2, 2)), {"ord": 2}),
        (np.ones((2, 2)), {"axis": 2}),
        (np.ones((2, 2)), {"axis": (0, 0)}),
        (np.ones((2, 2)), {"axis": "a"}),
        ("text", {}),
        (np.array(["a"]), {}),
    ],
    ids=str,
)
def test_errors_are_numpys(x, options):
    with pytest.raises(Exception) as theirs:  # noqa: PT011  # whatever NumPy raises
        np.linalg.norm(x, **options)
    with pytest.raises(type(theirs.value)) as ours:
        fastclip.norm(x, **options)
    assert str(ours.value) == str(theirs.value)


def test_arguments_by_position_as_numpys():
    x = normal((3, 5))
    assert fastclip.norm(x, None, None, True).shape == (1, 1)
    np.testing.assert_array_equal(fastclip.norm(x, 1, 0, True), np.linalg.norm(x, 1, 0, True))


def test_right_where_numpy_is_not():
    f32 = fastclip.norm(np.array([3e20, 4e20], np.float32))
    assert f32.dtype == np.float32
    assert abs(f32 - np.float32(5e20)) <= np.spacing(np.float32(5e20))
    assert fastclip.norm(np.array([3e-30, 4e-30], np.float32)) == np.float32(5e-30)
    assert fastclip.norm(np.array([3e200, 4e200])) == pytest.approx(5e200, rel=2**-52)
    assert fastclip.norm(np.array([3e-200, 4e-200])) == pytest.approx(5e-200, rel=2**-52)
    assert fastclip.norm(np.full(10**6, 0.1, np.float32)) == np.float32(float(np.float32(0.1)) * 1000)


def test_beyond_the_dtype_is_infinity_without_a_warning():
    assert fastclip.norm(np.full(4, 3e38, np.float32)) == np.float32(INF)
    assert fastclip.norm(np.full(4, 1.7e308)) == INF


@pytest.mark.parametrize(("values", "expected"), [([NAN, 1.0], NAN), ([INF, 1.0], INF), ([-INF, NAN], NAN)])
def test_nonfinite(dtype, values, expected):
    np.testing.assert_equal(float(fastclip.norm(np.array(values, dtype))), expected)


def test_layouts_and_subclasses():
    x = normal((4, 6))
    for view in (x.T, x[::2, ::-1], np.asfortranarray(x), x[1:3]):
        assert fastclip.norm(view) == oracle.norm([view])

    class Special(np.ndarray):
        pass

    assert fastclip.norm(x.view(Special)) == oracle.norm([x])
    assert fastclip.norm(x.astype(">f8").view(x.dtype.newbyteorder(">"))) == pytest.approx(oracle.norm([x]))
