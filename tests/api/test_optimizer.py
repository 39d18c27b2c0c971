# SPDX-License-Identifier: BSD-3-Clause
import copy
import math
import pickle
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest

import fastclip


class Slices(NamedTuple):
    values: np.ndarray
    indices: np.ndarray


class Applying:
    """TensorFlow 1 and Keras style."""

    def __init__(self):
        self.learning_rate = 0.5
        self.applied = []

    def apply_gradients(self, grads_and_vars, global_step=None, name=None):
        self.applied.append((list(grads_and_vars), global_step, name))
        return "applied"

    def compute_gradients(self, loss):
        return [(loss, "v")]


class Stepping:
    """PyTorch style."""

    def __init__(self, *groups):
        self.param_groups = [{"params": list(params), "lr": 1.0} for params in groups]
        self.stepped = []

    def step(self, closure=None):
        loss = None if closure is None else closure()
        self.stepped.append([None if p.grad is None else p.grad.tolist() for p in self.params()])
        return "stepped" if closure is None else loss

    def params(self):
        return [p for group in self.param_groups for p in group["params"]]


def parameter(grad):
    return SimpleNamespace(grad=None if grad is None else np.array(grad))


# ---- apply_gradients


def test_apply_gradients_clips_by_the_global_norm_into_new_arrays():
    inner = Applying()
    a, b = np.array([30.0]), np.array([40.0])
    pairs = zip([a, None, b], ["x", "y", "z"], strict=True)  # an iterator, as Keras passes one
    assert fastclip.clip_gradients_by_norm(inner, 5.0).apply_gradients(pairs, 7, name="n") == "applied"
    (applied, step, name) = inner.applied[0]
    assert [(None if g is None else g.tolist(), v) for g, v in applied] == [([3.0], "x"), (None, "y"), ([4.0], "z")]
    assert (step, name) == (7, "n")
    assert (a.tolist(), b.tolist()) == ([30.0], [40.0])


def test_apply_gradients_keeps_slices():
    inner = Applying()
    given = Slices(np.array([[30.0, 40.0]]), np.array([2]))
    fastclip.clip_gradients_by_norm(inner, 5.0).apply_gradients([(given, "v")])
    ((clipped, variable),) = inner.applied[0][0]
    assert type(clipped) is Slices
    assert clipped.values.tolist() == [[3.0, 4.0]]
    assert clipped.indices is given.indices
    assert variable == "v"


def test_apply_gradients_within_the_limit_and_without_gradients():
    inner = Applying()
    wrapped = fastclip.clip_gradients_by_norm(inner, math.inf)
    wrapped.apply_gradients([(np.array([3e300]), "v")])
    wrapped.apply_gradients([])
    assert inner.applied[0][0][0][0].tolist() == [3e300]
    assert inner.applied[1][0] == []


def test_errors_of_the_gradients_come_before_the_optimizer():
    inner = Applying()
    with pytest.raises(TypeError, match="int64"):
        fastclip.clip_gradients_by_norm(inner, 1.0).apply_gradients([(np.array([3]), "v")])
    assert inner.applied == []


# ---- step


def test_step_clips_every_group_by_one_norm_in_place():
    inner = Stepping([parameter([30.0]), parameter(None)], [parameter([40.0])])
    gradients = [p.grad for p in inner.params()]
    assert fastclip.clip_gradients_by_norm(inner, 5.0).step() == "stepped"
    assert inner.stepped == [[[3.0], None, [4.0]]]
    assert all(p.grad is g for p, g in zip(inner.params(), gradients, strict=True))


def test_a_closure_computes_the_gradients_that_are_clipped():
    p = parameter([0.0])
    inner = Stepping([p])

    def closure():
        p.grad = np.array([8.0])
        return 0.25

    assert fastclip.clip_gradients_by_norm(inner, 2.0).step(closure) == 0.25
    assert inner.stepped == [[[2.0]]]
    assert fastclip.clip_gradients_by_norm(inner, 4.0).step(closure=closure) == 0.25
    assert inner.stepped[1] == [[4.0]]


def test_closure_none_is_no_closure():
    inner = Stepping([parameter([8.0])])
    assert fastclip.clip_gradients_by_norm(inner, 2.0).step(None) == "stepped"
    assert inner.stepped == [[[2.0]]]


# ---- the rest of the optimizer


@pytest.mark.parametrize("inner", [Applying(), Stepping([parameter([1.0])])], ids=["applying", "stepping"])
def test_a_wrapper_has_every_attribute_of_the_optimizer(inner):
    wrapped = fastclip.clip_gradients_by_norm(inner, 1.0)
    inner.name = "adam"
    assert wrapped.name == "adam"
    assert getattr(wrapped, "param_groups", None) is getattr(inner, "param_groups", None)
    with pytest.raises(AttributeError, match="no attribute 'unheard_of'"):
        _ = wrapped.unheard_of
    assert not hasattr(wrapped, "unheard_of")
    assert repr(wrapped) == f"clip_gradients_by_norm({inner!r}, 1.0)"


def test_what_is_set_on_a_wrapper_reaches_the_optimizer():
    inner = Applying()
    wrapped = fastclip.clip_gradients_by_norm(inner, 1.0)
    wrapped.learning_rate = 0.125
    assert inner.learning_rate == wrapped.learning_rate == 0.125


def test_methods_of_the_optimizer_are_reached():
    assert fastclip.clip_gradients_by_norm(Applying(), 1.0).compute_gradients("loss") == [("loss", "v")]


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, lambda w: pickle.loads(pickle.dumps(w))])
def test_wrappers_can_be_copied_and_pickled(make):
    wrapped = make(fastclip.clip_gradients_by_norm(Stepping([parameter([30.0, 40.0])]), 5.0))
    wrapped.step()
    assert wrapped.stepped == [[[3.0, 4.0]]]


def test_a_wrapper_can_be_wrapped():
    inner = Applying()
    both = fastclip.clip_gradients_by_norm(fastclip.clip_gradients_by_norm(inner, 2.0), 8.0)
    both.apply_gradients([(np.array([32.0]), "v")])
    assert inner.applied[0][0][0][0].tolist() == [2.0]


def test_apply_gradients_comes_first_where_an_optimizer_has_both():
    inner = Applying()
    inner.step, inner.param_groups = (lambda: None), []
    fastclip.clip_gradients_by_norm(inner, 1.0).apply_gradients([(np.array([4.0]), "v")])
    assert inner.applied[0][0][0][0].tolist() == [1.0]


@pytest.mark.parametrize("optimizer", [None, 3, object(), SimpleNamespace(step=lambda: None), SimpleNamespace(step=1)])
def test_other_objects_are_refused(optimizer):
    pattern = r"^clip_gradients_by_norm: optimizer is .*; expected one with apply_gradients\(\), or with step\(\)"
    with pytest.raises(TypeError, match=pattern):
        fastclip.clip_gradients_by_norm(optimizer, 1.0)
