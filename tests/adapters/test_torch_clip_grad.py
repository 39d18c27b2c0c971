# SPDX-License-Identifier: BSD-3-Clause
"""fastclip.torch beside PyTorch's own functions: the same bits given the same norm, and exact norms."""

import math
import os
import subprocess
import sys

import pytest
import torch
from torchcases import (
    BF16,
    DTYPES,
    F16,
    F32,
    F64,
    LISTS,
    bits,
    exact_norm,
    parameter,
    parameters,
    stock,
    total_dtype,
    twice,
)

import fastclip
import fastclip.torch as ours

EACH_LIST = pytest.mark.parametrize("dtypes", LISTS.values(), ids=LISTS)
WITHOUT_EXCHANGE = bool(os.environ.get("FASTCLIP_TEST_WITHOUT_EXCHANGE"))


@pytest.fixture
def native():
    """Assert that fastclip itself served the calls of the test."""
    before = fastclip.show_config()["calls"]["native"]
    yield
    assert fastclip.show_config()["calls"]["native"] > before


@EACH_LIST
@pytest.mark.parametrize("max_norm", [1e-30, 1e-4, 0.3, 1.0, 7.5, 1e9, 0.0, -1.0, math.inf, math.nan])
def test_given_the_same_norm_the_bits_are_torchs(native, dtypes, max_norm):
    for scale in (1e-6, 1.0, 300.0):
        mine, theirs = twice(parameters(dtypes, scale))
        norm = stock._get_total_norm([p.grad for p in theirs])
        stock._clip_grads_with_norm_(theirs, max_norm, norm)
        assert ours.clip_grads_with_norm_(mine, max_norm, norm) is None
        assert bits(mine) == bits(theirs)


@EACH_LIST
@pytest.mark.parametrize("total", DTYPES, ids=str)
def test_a_norm_of_any_dtype_gives_torchs_bits(native, dtypes, total):
    for value in (0.0, 1e-7, 3.14159, 4e4, math.inf, math.nan):
        for max_norm in (0.7, 1e5):
            mine, theirs = twice(parameters(dtypes))
            norm = torch.tensor(value, dtype=total)
            stock._clip_grads_with_norm_(theirs, max_norm, norm)
            ours.clip_grads_with_norm_(mine, max_norm, norm)
            assert bits(mine) == bits(theirs), (value, max_norm)


@pytest.mark.parametrize("total", DTYPES, ids=str)
def test_the_coefficient_of_a_small_norm_is_rounded_as_torch_rounds_it(native, total):
    """Where 1e-6 is a part of the sum: f16 and bf16 round it first, but not max_norm. A gradient of 1 shows it."""
    for norm in torch.logspace(-7.5, -2, 400, dtype=F64).to(total):
        for max_norm in (1e-6, 3.3e-6, 1e-4, 7e-4):
            mine, theirs = parameter(torch.ones(1, dtype=F64)), parameter(torch.ones(1, dtype=F64))
            ours.clip_grads_with_norm_(mine, max_norm, norm)
            stock._clip_grads_with_norm_(theirs, max_norm, norm)
            assert mine.grad.item() == theirs.grad.item(), (norm, max_norm)


@EACH_LIST
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e3])
def test_the_norm_is_the_exact_one_rounded_to_torchs_dtype(native, dtypes, scale):
    given = parameters(dtypes, scale)
    gradients = [p.grad for p in given]
    dtype = total_dtype(gradients)
    wanted = torch.tensor(exact_norm(gradients), dtype=F64).to(dtype)
    for norm in (ours.get_total_norm(gradients), ours.clip_grad_norm_(given, 1e30)):
        assert norm.dtype == dtype
        assert norm.shape == ()
        assert not norm.requires_grad
        # one rounding to the dtype; what it is of is off by an ULP of f32 at most: a tie may fall otherwise
        assert abs(norm.double() - wanted.double()) <= torch.finfo(dtype).eps * wanted.double()


@EACH_LIST
def test_it_clips_as_torch_does(native, dtypes):
    """Torch rounds each tensor's norm to its dtype, then their total: 2 ULP of the coarsest, and one is ours."""
    mine, theirs = twice(parameters(dtypes))
    ours.clip_grad_norm_(mine, 1.0)
    stock.clip_grad_norm_(theirs, 1.0)
    coarsest = max(torch.finfo(dtype).eps for dtype in dtypes)
    for p, q in zip(mine, theirs, strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=4 * coarsest, atol=1e-7)


@EACH_LIST
@pytest.mark.parametrize("value", [0.0, 1e-3, 0.5, 2.0, math.inf, math.nan])
def test_clipping_by_value_has_torchs_bits(native, dtypes, value):
    mine, theirs = twice(parameters(dtypes))
    for given in (mine, theirs):
        flat = given[2].grad
        flat[:6] = torch.tensor([0.0, -0.0, math.nan, math.inf, -math.inf, 0.5], dtype=F64)
    stock.clip_grad_value_(theirs, value)
    assert ours.clip_grad_value_(mine, value) is None
    assert bits(mine) == bits(theirs)


@pytest.mark.parametrize("value", [-1.0, 1e6])
def test_bounds_that_torch_takes_in_its_own_way_or_refuses(value):
    for dtype in (F16, F32):
        mine, theirs = twice(parameters([dtype]))
        outcomes = []
        for clip, given in ((ours.clip_grad_value_, mine), (stock.clip_grad_value_, theirs)):
            try:
                outcomes.append(clip(given, value))
            except RuntimeError as error:
                outcomes.append(str(error))
        assert outcomes[0] == outcomes[1]
        assert bits(mine) == bits(theirs)


@pytest.mark.parametrize("p", [0, 0.1, 0.5, 1, 1.5, 2, 3.5, 4, math.inf, "inf", -1, -2, -math.inf])
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_every_norm(p, dtype):
    mine, theirs = twice(parameters([dtype], shapes=[(3, 5), (130,), (64, 33)]))
    norm, other = ours.clip_grad_norm_(mine, 0.5, p), stock.clip_grad_norm_(theirs, 0.5, p)
    # torch adds up to 2,112 elements in vectors: some 100 roundings, of sums raised to 1/p
    close = {"rtol": 1e-4 if dtype == F32 else 1e-12, "atol": 1e-7}
    torch.testing.assert_close(norm, other, **close)
    assert (ours.get_total_norm([p.grad for p in mine], p) > 0) == (other > 0)
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad, **close)


@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
def test_the_common_norms_are_native(native, p):
    ours.clip_grad_norm_(parameters(shapes=[(5,), (130,)]), 1.0, p)


def test_large_sums_are_right_where_torchs_are_not(native):
    gradient = torch.full((1 << 26,), 1e-3)
    given = [parameter(gradient)]
    exact = math.sqrt(1 << 26) * float(gradient[0])
    assert ours.get_total_norm([gradient]).item() == pytest.approx(exact, rel=1e-7)
    assert ours.get_total_norm([gradient], 1.0).item() == pytest.approx((1 << 26) * float(gradient[0]), rel=1e-7)
    assert ours.clip_grad_norm_(given, 1.0).item() == pytest.approx(exact, rel=1e-7)
    assert abs(stock._get_total_norm([parameter(torch.full((1 << 26,), 1e-3)).grad]).item() / exact - 1) > 1e-3


@pytest.mark.parametrize("value", [1e20, 1e-25])
def test_squares_beyond_the_range_of_f32(native, value):
    (given,) = made = [parameter(torch.full((1000,), value))]
    assert ours.clip_grad_norm_(made, value).item() == pytest.approx(math.sqrt(1000) * value, rel=1e-6)
    wanted = value * min(1.0, value / (math.sqrt(1000) * value + 1e-6))  # torch's 1e-6 is part of the rule
    assert given.grad[7].item() == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize(("dtype", "value"), [(F16, 6e4), (F32, 2e38), (BF16, 2e38)])
def test_a_norm_that_its_dtype_cannot_hold_is_told_as_infinite_and_clips_right(native, dtype, value):
    (given,) = made = [parameter(torch.full((4,), value, dtype=dtype))]
    norm = ours.clip_grad_norm_(made, 1.0, error_if_nonfinite=True)
    assert norm.dtype == dtype
    assert norm.item() == math.inf
    # the coefficient is rounded to f32, then the product: 2 ULP
    torch.testing.assert_close(given.grad, torch.full((4,), 0.5, dtype=dtype), rtol=2**-22, atol=0)


def test_an_f64_norm_whose_square_overflows_is_right_and_an_error_where_torch_has_one(native):
    made = [parameter(torch.full((4,), 1e200, dtype=F64))]
    for function in (
        lambda: ours.clip_grad_norm_(made, 1.0, error_if_nonfinite=True),
        lambda: ours.get_total_norm([made[0].grad], error_if_nonfinite=True),
    ):
        with pytest.raises(RuntimeError, match="is non-finite"):
            function()
    assert made[0].grad.tolist() == [1e200] * 4
    assert ours.clip_grad_norm_(made, 1.0).item() == 2e200
    assert made[0].grad.tolist() == [0.5] * 4


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("p", [2, 1, 3.5, math.inf])
def test_non_finite_gradients(bad, p):
    mine, theirs = twice(parameters([F32], shapes=[(3,), (5,)]))
    for given in (mine, theirs):
        given[1].grad[2] = bad
    before = bits(mine)
    messages = []
    for clip, given in ((ours.clip_grad_norm_, mine), (stock.clip_grad_norm_, theirs)):
        with pytest.raises(RuntimeError) as error:
            clip(given, 1.0, p, error_if_nonfinite=True)
        messages.append(str(error.value))
    assert messages[0] == messages[1]
    assert bits(mine) == before
    norms = ours.clip_grad_norm_(mine, 1.0, p), stock.clip_grad_norm_(theirs, 1.0, p)
    torch.testing.assert_close(*norms, equal_nan=True)
    assert bits(mine) == bits(theirs)


def test_within_the_limit_no_bit_changes_and_no_version(native):
    given = parameters()
    before, versions = bits(given), [p.grad._version for p in given]
    ours.clip_grad_norm_(given, 1e6)
    assert bits(given) == before
    assert [p.grad._version for p in given] == versions


@pytest.mark.parametrize(
    "clip",
    [ours.clip_grad_norm_, ours.clip_grad_value_, lambda g, m: ours.clip_grads_with_norm_(g, m, torch.tensor(5.0))],
)
def test_autograd_sees_what_was_written(native, clip):
    x = torch.tensor([3.0, 4.0], requires_grad=True)
    (gradient,) = torch.autograd.grad((x**3).sum(), x, create_graph=True)
    x.grad = gradient.detach()
    saved = (x.grad.requires_grad_() ** 2).sum()
    clip([x], 0.5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        saved.backward()


@pytest.mark.skipif(WITHOUT_EXCHANGE, reason="each subset would start itself again")
@pytest.mark.parametrize(
    ("release", "parts"),
    [("2.9", ["clip_grad", "inputs", "memory"]), ("2.5", ["clip_grad", "in_step", "in_step_hard"])],
)
def test_a_torch_without_the_exchange_api(release, parts):
    environment = {**os.environ, "FASTCLIP_TEST_WITHOUT_EXCHANGE": release}
    files = [__file__.replace("clip_grad", part) for part in parts]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]
    assert " passed" in run.stdout


def test_drop_ins_are_there_after_import_fastclip():
    code = (
        "import sys, fastclip\n"
        "assert 'torch' not in sys.modules\n"
        "assert not hasattr(fastclip, 'tosh')\n"
        "assert fastclip.torch.clip_in_step and 'torch' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["torch", "tensorflow", "keras"])
def test_drop_ins_say_what_is_missing(name):
    code = f"import sys; sys.modules['{name}'] = None; import fastclip; fastclip.{name}"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stderr.endswith(f"ModuleNotFoundError: fastclip.{name}: {name} is not installed: pip install {name}\n")


def test_without_native_code_torch_does_it():
    code = (
        "import torch, fastclip.torch as t, fastclip\n"
        "p = torch.nn.Parameter(torch.zeros(2)); p.grad = torch.tensor([3., 4.])\n"
        "print(t.clip_grad_norm_([p], 1.0).item(), p.grad.tolist(), fastclip.show_config()['backend'])\n"
        "t.clip_grad_value_(p, 0.5); t.clip_grads_with_norm_(p, 1.0, torch.tensor(2.0)); print(p.grad.tolist())\n"
    )
    environment = {**os.environ, "FASTCLIP_BACKEND": "reference"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    q = torch.nn.Parameter(torch.zeros(2))
    q.grad = torch.tensor([3.0, 4.0])
    norm = stock.clip_grad_norm_([q], 1.0).item()
    first = q.grad.tolist()
    stock.clip_grad_value_(q, 0.5)
    stock._clip_grads_with_norm_(q, 1.0, torch.tensor(2.0))
    assert run.stdout.split("\n")[:2] == [f"{norm} {first} reference", str(q.grad.tolist())]
