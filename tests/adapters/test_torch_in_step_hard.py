# SPDX-License-Identifier: BSD-3-Clause
"""Clipping in a step where it meets gradient scalers, compilers, other hooks, and norms beyond a dtype."""

import math
import warnings

import pytest
import torch
from torch.optim import SGD, AdamW
from torchcases import F16, F32, F64
from torchsteps import LARGE, about, descent, moved, scaler, weight

import fastclip.torch as ours
from fastclip.torch import _in_step, _tensors


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_a_compiled_step_is_clipped(kind, fused):
    mine, theirs = weight(), weight()
    optimizer, other = (kind([p], lr=0.1, fused=fused) for p in (mine, theirs))
    ours.clip_in_step(optimizer, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own
        torch.compile(lambda: optimizer.step(), backend="eager")()
    ours.clip_grad_norm_([theirs], 1.0)
    other.step()
    torch.testing.assert_close(mine, theirs)
    torch.testing.assert_close(mine.grad, theirs.grad)


def test_a_scaler_whose_gradients_have_been_unscaled_already():
    p = weight(0.04)
    optimizer, amp = descent(p), scaler(4.0)
    clipping = ours.clip_in_step(optimizer, 1.0)
    amp.unscale_(optimizer)
    amp.step(optimizer)
    assert clipping.total_norm.item() == about(10.0)
    assert moved(p) == about(0.001)
    assert not hasattr(optimizer, "grad_scale")


@pytest.mark.parametrize("max_norm", [0.0, -1.0, math.nan, math.inf])
def test_odd_limits_are_the_same_with_a_scaler(max_norm):
    p, q = weight(0.04), weight(0.01)
    scaled, plain = descent(p), descent(q)
    for optimizer in (scaled, plain):
        ours.clip_in_step(optimizer, max_norm)
    scaler(4.0).step(scaled)
    plain.step()
    assert moved(p) == pytest.approx(moved(q), nan_ok=True)
    assert moved(q) == pytest.approx({0.0: 0.0, -1.0: -0.001, math.inf: 0.01}.get(max_norm, math.nan), nan_ok=True)


def test_scaled_gradients_of_f16_whose_norm_leaves_it():
    p = weight(0.01 * 8192, (2000, 1000), F16)
    optimizer = descent(p)
    clipping = ours.clip_in_step(optimizer, 1.0)
    scaler(8192.0).step(optimizer)
    norm = math.sqrt(2e6) * 0.01
    assert clipping.total_norm.item() == about(norm, F16)
    assert p.grad[0, 0].item() == about(0.01 / norm, F16)  # PyTorch 2.13's fused SGD itself leaves f16 parameters at 0


@pytest.mark.parametrize("dtype", [F16, F32], ids=str)
def test_a_norm_or_a_scale_beyond_the_dtype_makes_no_zeros(dtype):
    value, limit = (6e4, 10.0) if dtype == F16 else (3e34, 0.05)
    p = weight(value, (2000, 1000), dtype)
    optimizer = descent(p)
    ours.clip_in_step(optimizer, limit)
    optimizer.step()
    assert p.grad[0, 0].item() == about(limit / math.sqrt(2e6), dtype)


def test_a_step_that_a_scaler_skips_is_no_error():
    p = weight()
    p.grad[0, 0] = math.inf
    optimizer, amp = descent(p), scaler(65536.0)
    ours.clip_in_step(optimizer, 1.0, error_if_nonfinite=True)
    amp.step(optimizer)
    amp.update()
    assert moved(p) == 0.0
    assert amp.get_scale() == 32768.0
    p.grad = torch.full(LARGE, math.nan)
    with pytest.raises(RuntimeError, match="is non-finite"):
        optimizer.step()


def test_one_gradient_of_two_parameters_is_divided_once():
    gradient = torch.full(LARGE, 0.01)
    p, q = weight(), weight()
    p.grad = q.grad = gradient
    optimizer = descent(p, q)
    ours.clip_in_step(optimizer, 1.0)
    optimizer.step()
    assert moved(p) == moved(q) == about(0.01 / math.sqrt(200))


@pytest.mark.parametrize("shape", [LARGE, (3, 4)], ids=["large", "small"])
@pytest.mark.parametrize("p", [1.0, 3.0, math.inf])
def test_other_norms(shape, p):
    made = weight(shape=shape)
    optimizer = descent(made)
    clipping = ours.clip_in_step(optimizer, 0.001, norm_type=p)
    optimizer.step()
    wanted = made.numel() ** (1 / p) * 0.01
    close = {"rel": 1e-2 if p == 3.0 else 1e-6}  # PyTorch's own, of a million elements
    assert clipping.total_norm.item() == pytest.approx(wanted, **close)
    assert moved(made) == pytest.approx(0.01 * 0.001 / (wanted + 1e-6), **close)


def test_the_small_number_that_torch_adds_is_there():
    p = weight(1e-9)  # a norm of 1e-6
    optimizer = descent(p)
    ours.clip_in_step(optimizer, 1e-6)
    optimizer.step()
    assert moved(p) == about(0.5e-9)


def test_groups_of_which_one_is_not_fused():
    p, q = weight(), weight()
    optimizer = SGD([{"params": [p], "fused": True}, {"params": [q], "fused": False}], lr=1.0)
    ours.clip_in_step(optimizer, 1.0)
    optimizer.step()
    assert moved(p) == moved(q) == about(0.01 / math.sqrt(200))


@pytest.mark.parametrize("scaled", [False, True])
def test_where_nothing_is_native_torchs_operations_do_it(monkeypatch, scaled):
    """As on a GPU, or where a CPU's memory is shared in part."""
    monkeypatch.setattr(_tensors, "norm", lambda *_: NotImplemented)
    monkeypatch.setattr(_in_step, "get_total_norm", lambda g, *_: torch.linalg.vector_norm(g[0].double()))
    p = weight(0.04 if scaled else 0.01)
    optimizer = descent(p)
    clipping = ours.clip_in_step(optimizer, 1.0)
    for _ in range(2):  # the second step is within the limit
        if scaled:
            scaler(4.0).step(optimizer)
        else:
            optimizer.step()
        assert clipping.total_norm.dtype == F64
        assert not hasattr(optimizer, "grad_scale")
        p.grad = torch.full(LARGE, 4e-4 if scaled else 1e-4)
    assert moved(p) == about(0.001 + 1e-4)


def test_removed_it_may_be_installed_again():
    optimizer = descent(weight())
    ours.clip_in_step(optimizer, 1.0).remove()
    ours.clip_in_step(optimizer, 2.0)
    optimizer.step()
    assert not hasattr(optimizer, "grad_scale")


def test_removed_after_a_step_that_raised_it_takes_its_scale_along():
    p = weight()
    optimizer = descent(p)
    clipping = ours.clip_in_step(optimizer, 1.0)
    broken = optimizer.register_step_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        optimizer.step()
    broken.remove()
    clipping.remove()
    assert not hasattr(optimizer, "grad_scale")
    optimizer.step()
    assert moved(p) == about(0.01)


def test_parameters_that_have_no_shape_yet():
    module = torch.nn.LazyLinear(3)
    optimizer = descent(*module.parameters())
    ours.clip_in_step(optimizer, 1e-3)
    optimizer.step()
    module(torch.ones(2, 4)).sum().backward()
    optimizer.step()
    norm = torch.stack([p.grad.norm() for p in module.parameters()]).norm().item()
    assert norm == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize(
    "make",
    [
        lambda o: torch.optim.lr_scheduler.StepLR(o, 1, gamma=0.5),
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 1.0, total_steps=5, cycle_momentum=False),
        lambda o: torch.optim.lr_scheduler.SequentialLR(
            o, [torch.optim.lr_scheduler.ConstantLR(o, 0.5), torch.optim.lr_scheduler.StepLR(o, 1)], [2]
        ),
    ],
    ids=["StepLR", "OneCycleLR", "SequentialLR"],
)
def test_schedulers_and_scalers_take_the_wrapper(make):
    p, q = weight(), weight()
    wrapped, plain = ours.ClippedOptimizer(descent(p), 1.0), descent(q)
    schedulers = make(wrapped), make(plain)
    for _ in range(3):
        for given in (p, q):
            given.grad = torch.full(LARGE, 0.04)
        scaler(4.0).step(wrapped)
        q.grad = torch.full(LARGE, 0.001)
        plain.step()
        for scheduler in schedulers:
            scheduler.step()
    assert moved(p) == pytest.approx(moved(q), rel=1e-5)
    assert wrapped.param_groups[0]["lr"] == plain.param_groups[0]["lr"]


def test_f64_is_exact_to_its_own_last_places():
    p = weight(dtype=F64)
    optimizer = descent(p)
    ours.clip_in_step(optimizer, 1.0)
    optimizer.step()
    assert moved(p) == pytest.approx(0.01 / (10 + 1e-6), rel=1e-14)


@pytest.mark.parametrize("p", [2.0, 3.0])
def test_no_order_of_the_norm_makes_zeros_of_f64_or_divides_a_shared_gradient_twice(p):
    large = weight(1e38, (400_000,), F64)
    optimizer = descent(large)
    ours.clip_in_step(optimizer, 1.0, norm_type=p)
    optimizer.step()
    assert moved(large) == pytest.approx(400_000 ** (-1 / p), rel=1e-9)
    a, b = weight(), weight()
    a.grad = b.grad = torch.ones(LARGE)
    optimizer = descent(a, b)
    ours.clip_in_step(optimizer, 1.0, norm_type=p)
    optimizer.step()
    assert moved(a) == moved(b) == pytest.approx(2e6 ** (-1 / p), rel=1e-2)


def test_layers_that_get_gradients_later_make_it_fold():
    early, late = weight(shape=(3,)), weight()
    gradient, late.grad = late.grad, None
    optimizer = descent(early, late)
    ours.clip_in_step(optimizer, 1.0)
    seen = []
    optimizer.register_step_pre_hook(lambda optimizer, *_: seen.append(hasattr(optimizer, "grad_scale")))
    optimizer.step()
    late.grad = gradient
    optimizer.step()
    assert seen == [False, True]


def test_a_scale_that_the_dtype_of_today_can_not_hold_is_not_handed_over():
    p = weight(0.04)
    optimizer = descent(p)
    clipping = ours.clip_in_step(optimizer, 1e-4)
    optimizer.step()  # a scale of 4e5 in f32
    p.data, p.grad = torch.zeros(2000, 1000, dtype=F16), None
    p.grad = torch.full((2000, 1000), 0.04, dtype=F16)
    optimizer.step()
    assert clipping.total_norm.item() == about(0.04 * math.sqrt(2e6), F16)
    assert p.grad[0, 0].item() == pytest.approx(1e-4 / math.sqrt(2e6), abs=2.0**-24)  # f16's smallest number
