# SPDX-License-Identifier: BSD-3-Clause
"""`fastclip.patch`: what is replaced, where, and that undoing leaves no trace."""

import importlib
import importlib.util
import sys
import threading
import time
import types

import numpy as np
import pytest
import torch

import fastclip
import fastclip.torch
from fastclip import _patch

# In containers: what a module holds by name is replaced there too, in this one as in any other.
TORCH = ("clip_grad_norm_", "clip_grad_norm", "clip_grad_value_", "get_total_norm", "clip_grads_with_norm_")
PLACES = [(torch.nn.utils, name, name) for name in TORCH]
PLACES += [(torch.nn.utils.clip_grad, name, name) for name in TORCH[:3]]
PLACES += [(torch.nn.utils.clip_grad, f"_{name}", name) for name in TORCH[3:]]
STOCK = {(module, name): getattr(module, name) for module, name, _ in PLACES}
NUMPY = {"clip": np.clip, "norm": np.linalg.norm}


@pytest.fixture(autouse=True)
def _everything_is_undone():
    yield
    assert _patch._swapped == {}
    assert all(getattr(module, name) is function for (module, name), function in STOCK.items())
    assert {"clip": np.clip, "norm": np.linalg.norm} == NUMPY


@pytest.fixture
def module(monkeypatch):
    """Make an imported module of a name and a text."""

    def make(name, text=""):
        made = types.ModuleType(name)
        monkeypatch.setitem(sys.modules, name, made)
        exec(text, vars(made))
        return made

    return make


# ---- what is replaced


@pytest.mark.parametrize(("owner", "name", "ours"), PLACES)
def test_torch_is_replaced_under_every_name(owner, name, ours):
    with fastclip.patch("torch"):
        assert getattr(owner, name) is getattr(fastclip.torch, ours)
    assert getattr(owner, name) is STOCK[owner, name]


def test_code_written_for_torch_runs_fastclip(module):
    user = module("user", "from torch.nn.utils import clip_grad_norm_\ndef step(w): return clip_grad_norm_([w], 1.0)")
    scale = 1e30 if fastclip.show_config()["backend"] == "native" else 1.0  # PyTorch's own norm: infinite
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([3.0, 4.0]) * scale
    with fastclip.patch("torch"):
        norm = user.step(weight)
    assert norm.item() == pytest.approx(5.0 * scale)
    assert weight.grad.tolist() == pytest.approx([0.6, 0.8])


@pytest.mark.parametrize("private", [True, False])
def test_what_an_older_torch_lacks_stays_absent(monkeypatch, private):
    monkeypatch.delattr(torch.nn.utils, "get_total_norm")
    if private:
        monkeypatch.delattr(torch.nn.utils.clip_grad, "_get_total_norm")
    with fastclip.patch("torch"):
        assert not hasattr(torch.nn.utils, "get_total_norm")
        assert not hasattr(torch.nn.utils.clip_grad, "get_total_norm")
        assert torch.nn.utils.clip_grad_norm_ is fastclip.torch.clip_grad_norm_
    assert not hasattr(torch.nn.utils, "get_total_norm")


def test_names_imported_before_are_replaced_and_restored(module):
    user = module("user", "from torch.nn.utils import clip_grad_norm_, clip_grad_value_ as cut\nkept = [cut]")
    taken = {"clip_grad_norm_": user.clip_grad_norm_, "cut": user.cut}
    with fastclip.patch("torch"):
        assert user.clip_grad_norm_ is fastclip.torch.clip_grad_norm_
        assert user.cut is fastclip.torch.clip_grad_value_
        assert user.kept == [taken["cut"]]
    assert user.clip_grad_norm_ is taken["clip_grad_norm_"]
    assert user.cut is taken["cut"]


def test_fastclip_keeps_the_originals(module):
    clip, norm = (importlib.import_module(f"fastclip._api.{name}") for name in ("clip", "norm"))
    other = module("fastclip_user", "from numpy import clip")  # no part of fastclip for all its name
    with fastclip.patch("numpy"):
        assert (clip._numpy_clip, norm._numpy_norm) == (NUMPY["clip"], NUMPY["norm"])
        assert other.clip is np.clip is fastclip.clip
        assert np.linalg.norm is fastclip.norm


class Duck:
    """An array of another library."""

    def __array_function__(self, function, kinds, args, kwargs):
        return function.__name__, function in NUMPY.values()

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("converted")


CALLS = {
    "floats": lambda: np.clip(np.array([-2.0, 0.5, 7.0]), -1, 1),
    "integers": lambda: np.clip(np.arange(10), 2, 5),
    "objects": lambda: np.clip(np.array([-2, 0.5, 10**30], object), -1, 1),
    "a list": lambda: np.clip([1, 5, 9], 2, None),
    "a dtype": lambda: np.clip(np.arange(3.0), 0, 1, dtype=np.float32),
    "a masked array": lambda: np.clip(np.ma.array([1.0, 9.0], mask=[0, 1]), 2, 5),
    "a method": lambda: np.arange(10).clip(2, 5),
    "a duck": lambda: np.clip(Duck(), 0, 1),
    "norm": lambda: np.linalg.norm(np.array([3.0, 4.0])),
    "norm of order 1": lambda: np.linalg.norm(np.array([3.0, -4.0]), ord=1),
    "norm of rows": lambda: np.linalg.norm(np.ones((2, 4)), axis=1),
    "norm of integers": lambda: np.linalg.norm([3, 4]),
    "norm of a duck": lambda: np.linalg.norm(Duck(), 1),
    "condition": lambda: np.linalg.cond(np.diag([1.0, 4.0]), "fro"),  # calls norm
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_numpy_gives_what_it_gave(call):
    expected = call()
    with fastclip.patch("numpy"):
        result = call()
    assert type(result) is type(expected)
    assert repr(result) == repr(expected)
    assert "Duck" not in repr(result)


# ---- how it is undone


def test_an_exception_passes_and_the_originals_return():
    with pytest.raises(ZeroDivisionError), fastclip.patch("numpy"):
        1 / (np.clip is not fastclip.clip)
    assert np.clip is NUMPY["clip"]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_patches_are_undone_in_any_order(order):
    patches = [fastclip.patch("numpy"), fastclip.patch("torch", "numpy"), fastclip.patch("numpy")]
    for i in order[:2]:
        patches[i].undo()
        patches[i].undo()  # takes nothing from the others
        assert np.clip is fastclip.clip
    patches[order[2]].undo()
    assert np.clip is NUMPY["clip"]


def test_a_name_twice_counts_once():
    patch = fastclip.patch("numpy", "numpy")
    patch.undo()
    assert np.clip is NUMPY["clip"]


def test_the_next_patch_finds_what_has_come_since(module):
    with fastclip.patch("numpy"):
        user = module("user")
        user.clip = NUMPY["clip"]
        with fastclip.patch("numpy"):
            assert user.clip is fastclip.clip
        assert user.clip is fastclip.clip  # until the last is undone
    assert user.clip is NUMPY["clip"]


def test_what_somebody_else_puts_there_stays(module):
    user = module("user", "from numpy import clip")
    with fastclip.patch("numpy"):
        user.clip = third = len
    assert user.clip is third


def test_a_function_put_there_in_between_is_replaced_and_comes_back():
    def third(*args):
        return NUMPY["clip"](*args)

    try:
        with fastclip.patch("numpy"):
            np.clip = third
            with fastclip.patch("numpy"):
                assert np.clip is fastclip.clip
        assert np.clip is third
    finally:
        np.clip = NUMPY["clip"]


def test_a_patch_that_was_undone_is_not_entered():
    patch = fastclip.patch("numpy")
    with patch as same:
        assert same is patch
    with pytest.raises(RuntimeError, match=r"^patch: this one was undone; call fastclip\.patch again"):
        patch.__enter__()


def test_a_patch_tells_what_it_is():
    patch = fastclip.patch("torch")
    assert repr(patch) == f"<fastclip.patch('torch'), in force in {len(PLACES)} places>"
    patch.undo()
    assert repr(patch) == "<fastclip.patch('torch'), undone>"


def test_threads_may_patch_and_undo_at_once(monkeypatch):
    wrong, swap = [], _patch._swap

    def slowly(*arguments):
        time.sleep(1e-4)  # gives the others the time to come in between
        swap(*arguments)

    def work():
        for _ in range(10):
            with fastclip.patch("numpy"):
                if np.clip is not fastclip.clip:
                    wrong.append(np.clip)

    monkeypatch.setattr(_patch, "_swap", slowly)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert np.clip is NUMPY["clip"]


# ---- which modules are looked through


class Odd:
    """An object in the place of a module, which must not be touched."""

    @property
    def __class__(self):
        raise AssertionError

    @property
    def __dict__(self):
        raise AssertionError


class OddModule(types.ModuleType):
    """A module that makes its names when it is asked for them."""

    @property
    def __dict__(self):
        raise AssertionError


def test_odd_modules_are_not_woken(monkeypatch):
    monkeypatch.setitem(sys.modules, "odd_none", None)
    monkeypatch.setitem(sys.modules, "odd_object", Odd())
    monkeypatch.setitem(sys.modules, "odd_bare", types.ModuleType.__new__(types.ModuleType))
    odd = OddModule("odd")
    odd.clip = np.clip
    monkeypatch.setitem(sys.modules, "odd", odd)
    with fastclip.patch("numpy"):
        assert odd.clip is np.clip is fastclip.clip
    assert odd.clip is NUMPY["clip"]


def test_a_lazy_module_stays_lazy(monkeypatch, tmp_path):
    (tmp_path / "lazy.py").write_text("print('loaded')\nvalue = 1")
    monkeypatch.syspath_prepend(tmp_path)
    spec = importlib.util.find_spec("lazy")
    spec.loader = importlib.util.LazyLoader(spec.loader)
    lazy = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "lazy", lazy)
    spec.loader.exec_module(lazy)
    with fastclip.patch("numpy"):
        assert type(lazy) is not types.ModuleType
    assert lazy.value == 1
    assert type(lazy) is types.ModuleType


def test_one_function_under_two_names_is_wrapped_once():
    made = []

    def wrap(name, function):
        made.append((name, function))
        return lambda *args: function(*args)

    with _patch.Patch(["torch"], wrap):
        wrapped = torch.nn.utils.clip_grad_norm_
        assert wrapped is not fastclip.torch.clip_grad_norm_
        with fastclip.patch("torch"):
            assert torch.nn.utils.clip_grad_norm_ is torch.nn.utils.clip_grad.clip_grad_norm_ is wrapped
    assert made == [(f"torch.nn.utils.{name}", getattr(fastclip.torch, name)) for name in TORCH]
