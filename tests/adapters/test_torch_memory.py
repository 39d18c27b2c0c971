# SPDX-License-Identifier: BSD-3-Clause
"""Memory behind tensors: layouts, what is listed twice or shared, and whose it is during a call."""

import os
import sys
import threading
import time

import pytest
import torch
from torchcases import DTYPES, EACH, OURS, STOCK, outcome, parameter, parameters, stock

import fastclip
import fastclip.torch as ours

WITHOUT_EXCHANGE = bool(os.environ.get("FASTCLIP_TEST_WITHOUT_EXCHANGE"))


LAYOUTS = {
    "transposed": lambda: torch.randn(6, 5).t(),
    "channels last": lambda: torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
    "strided": lambda: torch.randn(8, 12)[::2, 1::3],
    "row of a larger one": lambda: torch.randn(9, 7)[3],
    "offset": lambda: torch.randn(100)[7:],
    "negated view": lambda: torch._neg_view(torch.randn(9)),
    "misaligned": lambda: torch.frombuffer(bytearray(41), dtype=torch.float32, offset=1, count=10).fill_(0.7),
}


@EACH
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_layouts(name, layout):
    if layout is LAYOUTS["negated view"] and WITHOUT_EXCHANGE:
        pytest.skip("PyTorch refuses these, and has to do them here")
    gradient = layout()
    wanted = gradient.clone()
    mine, theirs = parameter(gradient), parameter(wanted)
    base = gradient._base
    outside = None if base is None else base.clone()
    OURS[name](mine)
    STOCK[name](theirs)
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-6, atol=0)
    assert mine.grad is gradient
    if outside is not None:  # nothing beside the view is written
        memory = gradient.resolve_neg().clone()
        torch.as_strided(outside, gradient.shape, gradient.stride(), gradient.storage_offset()).copy_(
            -memory if gradient.is_neg() else memory
        )
        assert torch.equal(base, outside)


@EACH
def test_expanded_gradients_are_refused(name):
    mine, theirs = ([parameter(torch.ones(1).expand(4))] for _ in range(2))
    found = outcome(OURS[name], mine)
    assert found == outcome(STOCK[name], theirs)
    assert found[0] is RuntimeError


def test_a_parameter_listed_twice_counts_once_and_is_scaled_once():
    for dtype in DTYPES:
        p = parameter(torch.tensor([3.0, 4.0], dtype=dtype))
        q = parameter(torch.tensor([12.0], dtype=dtype))
        assert ours.clip_grad_norm_([p, q, p], 6.5).item() == 13.0
        torch.testing.assert_close(p.grad, torch.tensor([1.5, 2.0], dtype=dtype))
        ours.clip_grads_with_norm_([p, p], 0.5, torch.tensor(1.0))
        torch.testing.assert_close(
            p.grad, torch.tensor([0.75, 1.0], dtype=dtype), rtol=2e-6, atol=2.0**-9 * (dtype.itemsize < 4)
        )
    q = parameter(torch.tensor([3.0, 4.0]))
    assert ours.clip_grad_norm_([q, q], 1e9, 3.5).item() == pytest.approx((3**3.5 + 4**3.5) ** (1 / 3.5))


def test_one_gradient_of_two_parameters_counts_twice_and_is_scaled_once():
    gradient = torch.tensor([3.0, 4.0])
    p, q = parameter(gradient), parameter(gradient)
    assert ours.clip_grad_norm_([p, q, p], 1.0).item() == pytest.approx(50**0.5)
    torch.testing.assert_close(gradient, torch.tensor([3.0, 4.0]) / 50**0.5)
    assert ours.get_total_norm([gradient, gradient]).item() == pytest.approx(2**0.5 * gradient.norm().item())


def test_views_that_share_elements_are_torchs_business():
    mine, theirs = torch.arange(6.0), torch.arange(6.0)
    for clip, base in ((ours.clip_grad_norm_, mine), (stock.clip_grad_norm_, theirs)):
        clip([parameter(base[:4]), parameter(base[2:])], 1.0)
    torch.testing.assert_close(mine, theirs)


def test_the_norm_is_a_tensor_like_any_other():
    norm = ours.clip_grad_norm_(parameters(), 1.0)
    assert type(norm) is torch.Tensor
    assert norm.device.type == "cpu"
    assert norm.is_leaf
    kept = norm.clone()
    for _ in range(100):
        ours.clip_grad_norm_(parameters(), 1.0)
    assert norm == kept
    assert (norm + 1).item() == pytest.approx(kept.item() + 1)
    norm.mul_(2)
    assert norm.item() == pytest.approx(2 * kept.item())


def test_nothing_is_kept():
    given = parameters()
    gradients = [p.grad for p in given]
    ours.clip_grad_norm_(given, 0.5)
    before = [sys.getrefcount(x) for x in (*given, *gradients)]
    for _ in range(50):
        ours.clip_grad_norm_(given, 0.5)
        ours.clip_grad_value_(given, 0.5)
        ours.get_total_norm(gradients)
        with pytest.raises(AttributeError):
            ours.clip_grad_norm_([*given, None], 0.5)
        ours.clip_grad_norm_([*given, parameter(torch.ones(2, dtype=torch.complex64))], 0.5)
    del given[len(gradients) :]
    assert [sys.getrefcount(x) for x in (*given, *gradients)] == before


@pytest.mark.skipif(WITHOUT_EXCHANGE, reason="NumPy's arrays hold the memory")
def test_nobody_runs_beside_a_call_who_could_take_the_memory_away():
    """Tensor.resize_ frees memory that others look at, so the GIL is kept: the other thread waits for its turn."""
    given = [parameter(torch.ones(16 << 20))]
    ours.clip_grad_norm_(given, 1e9)
    turns, stop = [0], threading.Event()

    def count():
        while not stop.wait(1e-4):
            turns[0] += 1

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # seconds: from here on a thread runs only where another one lets go of the GIL
    thread = threading.Thread(target=count)
    thread.start()
    try:
        before = turns[0]
        for _ in range(5):
            assert fastclip._core.tensors_scale(given, True, 1.0, 2.0, 2) is not NotImplemented
            assert fastclip._core.tensors_clamp(given, True, 1e-9) is not NotImplemented
        assert turns[0] == before
        time.sleep(0.01)
        assert turns[0] > before  # it does run where it may
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        thread.join()
