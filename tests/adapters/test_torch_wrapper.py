# SPDX-License-Identifier: BSD-3-Clause
"""Optimizers that are wrapped, by fastclip or by others, and what can not be wrapped."""

import copy
import math
import pickle

import accelerate
import pytest
import torch
from torch.optim import SGD
from torchcases import parameter
from torchsteps import LARGE, about, descent, moved, weight

import fastclip
import fastclip.torch as ours


@pytest.mark.parametrize("wrap", [ours.ClippedOptimizer, fastclip.clip_gradients_by_norm])
def test_a_wrapper_passes_for_the_optimizer(wrap):
    weight = parameter(torch.tensor([3.0, 4.0]))
    weight.data.zero_()
    inner = SGD([weight], lr=1.0, momentum=0.9)
    optimizer = wrap(inner, 2.5)
    assert isinstance(optimizer, SGD)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    optimizer.step()
    scheduler.step()
    torch.testing.assert_close(weight.detach(), torch.tensor([-1.5, -2.0]))
    assert inner.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"] == 0.5
    assert str(optimizer.state_dict()) == str(inner.state_dict())
    optimizer.param_groups[0]["lr"] = 2.0
    optimizer.zero_grad()
    assert weight.grad is None
    optimizer.load_state_dict(inner.state_dict())
    assert "SGD" in repr(optimizer)
    fresh = SGD([weight], lr=1.0, momentum=0.9)
    fresh.load_state_dict(optimizer.state_dict())


CALLS = {
    "clip_in_step": ours.clip_in_step,
    "ClippedOptimizer": ours.ClippedOptimizer,
    "clip_gradients_by_norm": fastclip.clip_gradients_by_norm,
}
EACH_CALL = pytest.mark.parametrize("name", CALLS)


@pytest.mark.parametrize("name", ["clip_in_step", "ClippedOptimizer"])
def test_what_is_no_optimizer_is_refused(name):
    unmade = SGD.__new__(SGD)
    unmade.optimizer = []
    for wrong in ([], unmade):
        with pytest.raises(TypeError, match=rf"^{name}: optimizer is .*; expected a torch\.optim\.Optimizer"):
            CALLS[name](wrong, 1.0)


@EACH_CALL
def test_an_optimizer_that_clips_already_is_refused_and_a_limit_that_is_no_number(name):
    optimizer = descent(weight())
    with pytest.raises(TypeError, match=rf"^{name}: (max|clip)_norm is None \(NoneType\); expected a (real )?number"):
        CALLS[name](optimizer, None)
    CALLS[name](optimizer, 1.0)
    with pytest.raises(ValueError, match=rf"^{name}: optimizer clips already; set max_norm"):
        CALLS[name](optimizer, 1.0)


@pytest.mark.parametrize("fused", [True, False])
def test_accelerates_wrapper_is_seen_through(fused):
    inner = descent(weight(), fused=fused)
    optimizer = accelerate.Accelerator(cpu=True).prepare_optimizer(inner)
    clipping = ours.clip_in_step(optimizer, 1.0)
    optimizer.step()
    assert clipping.total_norm.item() == about(10.0)
    assert moved(inner.param_groups[0]["params"][0]) == about(0.001)


def test_attributes_set_on_the_wrapper_are_the_optimizers():
    inner = descent(weight())
    wrapped = ours.ClippedOptimizer(inner, 1.0)
    wrapped.note = 5
    assert inner.note == 5
    del wrapped.note
    assert not hasattr(inner, "note")


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda w: pickle.loads(pickle.dumps(w))], ids=["deepcopy", "pickle"])
def test_a_copy_of_the_wrapper_clips(copied):
    wrapped = ours.ClippedOptimizer(descent(weight(), momentum=0.5), 2.5, norm_type=1.0, error_if_nonfinite=True)
    again = copied(wrapped)
    (p,) = again.param_groups[0]["params"]
    assert p is not wrapped.param_groups[0]["params"][0]
    p.grad = torch.full(LARGE, 0.01)
    again.step()
    assert moved(p) == about(2.5e-6)
    assert again.clipping.total_norm.item() == about(1e4)
    p.grad.fill_(math.nan)
    with pytest.raises(RuntimeError, match="is non-finite"):
        again.step()
