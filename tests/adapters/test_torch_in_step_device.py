# SPDX-License-Identifier: BSD-3-Clause
"""The branch of clip_in_step for other devices, run on a CPU: all that it knows it asks of PyTorch's operations."""

import math

import pytest
from torchcases import F32, F64
from torchsteps import descent, moved, scaler, weight

import fastclip.torch as ours
from fastclip.torch import _in_step, _tensors


@pytest.fixture(autouse=True)
def as_on_a_device(monkeypatch):
    monkeypatch.setattr(_in_step, "_all_cuda", lambda tensors: True)
    monkeypatch.setattr(_tensors, "norm", lambda *_: NotImplemented)


def about(value):
    """PyTorch's norm of a million elements in f32, off by 4e-4 here."""
    return pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize("scaled_by", [None, 4.0])
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_on_a_device_the_scale_is_made_of_tensors(dtype, scaled_by):
    p = weight(0.01 * (scaled_by or 1.0), dtype=dtype)
    optimizer = descent(p)
    clipping = ours.clip_in_step(optimizer, 1.0)
    folded = []
    optimizer.register_step_pre_hook(lambda optimizer, *_: folded.append(vars(optimizer).get("grad_scale")))
    if scaled_by is None:
        optimizer.step()
    else:
        scaler(scaled_by).step(optimizer)
    assert clipping.total_norm.item() == about(10.0)
    assert moved(p) == about(0.001)
    if dtype == F32 or scaled_by is not None:
        assert folded[0].item() == about(10.0 * (scaled_by or 1.0))
    else:
        assert folded == [None]


def test_on_a_device_one_gradient_of_two_parameters_is_divided_once():
    p, q = weight(), weight()
    p.grad = q.grad
    optimizer = descent(p, q)
    ours.clip_in_step(optimizer, 1.0)
    optimizer.step()
    assert moved(p) == moved(q) == about(0.01 / math.sqrt(200))
