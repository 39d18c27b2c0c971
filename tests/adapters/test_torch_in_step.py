# SPDX-License-Identifier: BSD-3-Clause
"""Clipping inside a step makes the same of the parameters as clip_grad_norm_ and a step."""

import copy
import math

import pytest
import torch
from torch.optim import SGD, Adagrad, Adam, AdamW
from torchcases import BF16, F16, F32, F64

import fastclip.torch as ours
from fastclip.torch import _in_step

LARGE = [(600, 1000), (1000,)]  # 2.4 MB of f32: beyond FOLDED_BYTES
SMALL = [(60, 100), (100,)]
KINDS = {
    "SGD": lambda p, **more: SGD(p, lr=0.1, **more),
    "SGD momentum": lambda p, **more: SGD(p, lr=0.1, momentum=0.9, **more),
    "Adam": lambda p, **more: Adam(p, lr=0.01, **more),
    "AdamW": lambda p, **more: AdamW(p, lr=0.01, **more),
    "Adagrad": lambda p, **more: Adagrad(p, lr=0.1, **more),
}
EACH_KIND = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
IN_PLACE = ("clip_grad_norm_", "clip_grads_with_norm_")
UNIT = {F16: 2.0**-11, BF16: 2.0**-8, F32: 2.0**-24, F64: 2.0**-53}


def weights(shapes, dtype=F32):
    return [torch.nn.Parameter(torch.randn(shape, dtype=F64).to(dtype)) for shape in shapes]


def both(shapes, kind, dtype=F32, **more):
    mine = weights(shapes, dtype)
    theirs = copy.deepcopy(mine)
    return mine, theirs, kind(mine, **more), kind(theirs, **more)


def set_gradients(step, *lists):
    generator = torch.Generator().manual_seed(step)
    for parameters in zip(*lists, strict=True):
        gradient = torch.randn(parameters[0].shape, generator=generator, dtype=F64) * 10 ** (step % 3 - 1)
        for p in parameters:
            p.grad = gradient.to(p.dtype, copy=True)


def assert_alike(mine, theirs, roundings=8):
    """A step's few roundings differ in the last place: 8 of them, relative to the largest parameter (of order 1)."""
    for p, q in zip(mine, theirs, strict=True):
        unit = UNIT[q.dtype]
        torch.testing.assert_close(p, q, rtol=roundings * unit, atol=roundings * unit)
        torch.testing.assert_close(p.grad, q.grad, rtol=roundings * unit, atol=1e-12)


@pytest.fixture
def folded(monkeypatch):
    """Assert that nothing was scaled in place."""
    for name in IN_PLACE:
        monkeypatch.setattr(_in_step, name, lambda *_: pytest.fail("scaled in place"))


def run(shapes, kind, dtype=F32, steps=6, max_norm=3.0, **more):
    mine, theirs, optimizer, other = both(shapes, kind, dtype, **more)
    clipping = ours.clip_in_step(optimizer, max_norm)
    clipped = 0
    for step in range(steps):
        set_gradients(step, mine, theirs)
        norm = ours.clip_grad_norm_(theirs, max_norm)
        other.step()
        optimizer.step()
        assert clipping.total_norm == norm
        assert_alike(mine, theirs, roundings=8 * (step + 1))
        assert not hasattr(optimizer, "grad_scale")
        clipped += norm > max_norm
    assert clipped > 0
    return clipped


@EACH_KIND
@pytest.mark.parametrize("dtype", [F32, BF16], ids=str)
def test_folded_into_fused_kernels(folded, kind, dtype):
    shapes = LARGE if dtype == F32 else [(1200, 1000), (1000,)]
    run(shapes, kind, dtype, fused=True)


@EACH_KIND
@pytest.mark.parametrize(
    ("shapes", "dtype", "more"),
    [
        (LARGE, F32, {"fused": False}),
        (LARGE, F32, {"foreach": True}),
        (SMALL, F32, {"fused": True}),
        (LARGE, F64, {"fused": True}),
    ],
    ids=["plain", "foreach", "small", "f64"],
)
def test_scaled_before_the_step_elsewhere(monkeypatch, kind, shapes, dtype, more):
    calls = []

    def counted(function):
        def call(*arguments):
            calls.append(function.__name__)
            return function(*arguments)

        return call

    for name in IN_PLACE:
        monkeypatch.setattr(_in_step, name, counted(getattr(ours, name)))
    clipped = run(shapes, kind, dtype, **more)
    steps = [*["clip_grads_with_norm_"] * 6] if more.get("fused") else ["clip_grad_norm_"] * 6
    assert calls == steps, clipped


@EACH_KIND
def test_within_the_limit_the_step_is_the_plain_one_to_the_bit(folded, kind):
    mine, theirs, optimizer, other = both(LARGE, kind, fused=True)
    ours.clip_in_step(optimizer, 1e9)
    for step in range(3):
        set_gradients(step, mine, theirs)
        optimizer.step()
        other.step()
        for p, q in zip(mine, theirs, strict=True):
            assert torch.equal(p, q)
            assert torch.equal(p.grad, q.grad)


@pytest.mark.parametrize("max_norm", [0.0, -1.0, math.inf, math.nan])
def test_limits_that_do_not_clip_or_do_more(max_norm):
    mine, theirs, optimizer, other = both(LARGE, KINDS["SGD"], fused=True)
    ours.clip_in_step(optimizer, max_norm)
    set_gradients(0, mine, theirs)
    ours.clip_grad_norm_(theirs, max_norm)
    other.step()
    optimizer.step()
    for p, q in zip(mine, theirs, strict=True):
        torch.testing.assert_close(p, q, equal_nan=True, rtol=2.0**-22, atol=2.0**-22)


@pytest.mark.parametrize("bad", [math.inf, math.nan])
@pytest.mark.parametrize("shapes", [SMALL, LARGE], ids=["small", "large"])
def test_gradients_that_are_not_finite(bad, shapes):
    mine, theirs, optimizer, other = both(shapes, KINDS["SGD"], fused=True)
    handle = ours.clip_in_step(optimizer, 1.0, error_if_nonfinite=True)
    set_gradients(0, mine, theirs)
    mine[0].grad[3, 4] = theirs[0].grad[3, 4] = bad
    before = [p.detach().clone() for p in mine]
    with pytest.raises(RuntimeError, match="is non-finite"):
        optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(mine, before, strict=True))
    handle.remove()
    ours.clip_in_step(optimizer, 1.0)
    ours.clip_grad_norm_(theirs, 1.0)
    other.step()
    optimizer.step()
    for p, q in zip(mine, theirs, strict=True):
        torch.testing.assert_close(p, q, equal_nan=True, rtol=0, atol=0)


@pytest.mark.parametrize("as_keyword", [False, True])
@pytest.mark.parametrize("shapes", [SMALL, LARGE], ids=["small", "large"])
def test_what_a_closure_computes_is_clipped(shapes, as_keyword):
    mine, theirs, optimizer, other = both(shapes, KINDS["AdamW"], fused=True)
    ours.clip_in_step(optimizer, 0.5)

    def closure():
        set_gradients(1, mine)
        return torch.tensor(7.0)

    loss = optimizer.step(closure=closure) if as_keyword else optimizer.step(closure)
    assert loss == 7.0
    set_gradients(1, theirs)
    ours.clip_grad_norm_(theirs, 0.5)
    other.step()
    assert_alike(mine, theirs)


def test_an_optimizer_that_calls_its_closure_again_and_again():
    weight = torch.nn.Parameter(torch.tensor([4.0, -3.0]))
    optimizer = torch.optim.LBFGS([weight], max_iter=5)
    ours.clip_in_step(optimizer, 0.1)
    norms = []

    def closure():
        optimizer.zero_grad()
        loss = (weight**2).sum()
        loss.backward()
        return loss

    weight.register_post_accumulate_grad_hook(lambda p: norms.append(p.grad.norm().item()))
    optimizer.step(closure)
    assert len(norms) > 2
    assert min(norms) > 1.0
    assert weight.grad.norm().item() == pytest.approx(0.1, rel=1e-5)  # torch's 1e-6 beside a norm over 1, roundings


@pytest.mark.parametrize("shapes", [SMALL, LARGE], ids=["small", "large"])
@EACH_KIND
def test_a_grad_scaler_whose_step_is_fused(folded, kind, shapes):
    mine, theirs, optimizer, other = both(shapes, kind, fused=True)
    clipping = ours.clip_in_step(optimizer, 3.0)
    scalers = [torch.amp.GradScaler("cpu", init_scale=1024.0) for _ in range(2)]
    for step in range(4):
        set_gradients(step, mine, theirs)
        for p in (*mine, *theirs):
            scalers[0].scale(torch.zeros(())), scalers[1].scale(torch.zeros(()))
            p.grad *= 1024.0
        scalers[1].unscale_(other)
        norm = ours.clip_grad_norm_(theirs, 3.0)
        scalers[1].step(other)
        scalers[0].step(optimizer)
        assert clipping.total_norm.item() == pytest.approx(norm.item(), rel=1e-6)
        assert_alike(mine, theirs, roundings=8 * (step + 1))
        for scaler in scalers:
            scaler.update(1024.0)
        assert not hasattr(optimizer, "grad_scale")


def test_a_grad_scaler_skips_a_step_with_an_infinite_gradient():
    mine, _, optimizer, _ = both(LARGE, KINDS["Adam"], fused=True)
    ours.clip_in_step(optimizer, 3.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(torch.zeros(()))
    set_gradients(0, mine)
    mine[1].grad[5] = math.inf
    before = [p.detach().clone() for p in mine]
    scaler.step(optimizer)
    assert all(torch.equal(p, q) for p, q in zip(mine, before, strict=True))


def test_a_step_that_raises_leaves_no_scale_for_the_next():
    mine, theirs, optimizer, other = both(LARGE, KINDS["SGD"], fused=True)
    ours.clip_in_step(optimizer, 1.0)
    broken = optimizer.register_step_pre_hook(lambda *_: 1 / 0)
    set_gradients(0, mine, theirs)
    with pytest.raises(ZeroDivisionError):
        optimizer.step()
    broken.remove()
    ours.clip_grad_norm_(theirs, 1.0)
    other.step()
    optimizer.step()
    assert_alike(mine, theirs)


def test_removed_it_does_nothing_and_the_limit_may_change():
    mine, theirs, optimizer, other = both(SMALL, KINDS["SGD"])
    clipping = ours.clip_in_step(optimizer, 1.0)
    clipping.max_norm = 1e9
    set_gradients(2, mine, theirs)
    optimizer.step()
    other.step()
    assert all(torch.equal(p, q) for p, q in zip(mine, theirs, strict=True))
    clipping.max_norm = 1e-3
    clipping.remove()
    set_gradients(2, mine, theirs)
    optimizer.step()
    other.step()
    assert all(torch.equal(p, q) for p, q in zip(mine, theirs, strict=True))


def test_parameters_added_later_are_clipped_too():
    (first,), (second,) = weights([(600, 1000)]), weights([(600, 1000)])
    optimizer = SGD([first], lr=1.0, fused=True)
    clipping = ours.clip_in_step(optimizer, 1.0)
    first.grad = torch.ones_like(first)
    optimizer.step()
    optimizer.add_param_group({"params": [second]})
    first.grad, second.grad = torch.ones_like(first), torch.ones_like(second)
    optimizer.step()
    assert clipping.total_norm.item() == pytest.approx(math.sqrt(1_200_000), rel=1e-6)
