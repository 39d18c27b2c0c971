# SPDX-License-Identifier: BSD-3-Clause
"""Every peer, by its real library, at every operation that it takes part in."""

import dataclasses
import functools
import math
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import fastclip
from fastclip._bench import peers
from fastclip._bench.cases import WORKLOADS
from fastclip._bench.checks import verdict
from fastclip._bench.contestants import OPERATIONS
from fastclip._bench.exact import SCALED, UNSEEN, WRONG, exact_norm, norm_error
from fastclip._bench.isolation import Processes
from fastclip._bench.peers import PEERS, Entry, bind, installed, missing, versions

NORMS = ("within", "clip")
EVERY = [
    (name, operation, dtype)
    for name, entry in PEERS.items()
    for operation in entry.operations
    for dtype in (entry.dtypes if operation in NORMS else ("f32",))
    if operation in OPERATIONS
]


@pytest.fixture(scope="module")
def processes():
    with Processes() as started:
        yield started


@pytest.mark.parametrize(("name", "operation", "dtype"), EVERY)
def test_a_peer_does_it_right(processes, need, name, operation, dtype):
    need(name)
    error, fault = processes.verdict(name, operation, dtype)
    assert fault == ""
    assert error < SCALED[dtype]


@pytest.mark.parametrize("name", [name for name, entry in PEERS.items() if "within" in entry.operations])
def test_a_peers_norm_is_right(processes, need, name):
    need(name)
    workload = WORKLOADS["tiny_many"]
    arrays = workload.arrays(seed=5)
    before = [array.tobytes() for array in arrays]
    assert processes.norm_error(name, workload, arrays, exact_norm(arrays), seed=5) < WRONG["f32"]
    assert [array.tobytes() for array in arrays] == before


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_does_what_the_list_says_and_nothing_more(need, name):
    need(name)
    peer = bind(name, WORKLOADS["rl_policy"].arrays())
    assert peer.name == name
    able = {operation for operation, timed in OPERATIONS.items() if getattr(peer, timed.call) is not None}
    assert able == set(PEERS[name].operations)


@pytest.mark.parametrize("name", [name for name, entry in PEERS.items() if not entry.isolated])
def test_a_peer_works_on_the_arrays_given(need, name):
    need(name)
    if "clip" not in PEERS[name].operations:
        assert not PEERS[name].takes("clip", "f32")
        return
    arrays = WORKLOADS["rl_policy"].arrays()
    norm = exact_norm(arrays)
    peer = bind(name, arrays)
    peer.clip_norm(norm / 2)
    assert exact_norm(arrays) == pytest.approx(norm / 2, rel=WRONG["f32"])
    assert peer.in_place
    assert peer.own is None


def test_a_peer_that_fails_is_told_and_has_no_norm():
    arrays = WORKLOADS["rl_policy"].arrays()

    def broken(arrays):
        raise OSError("libbroken.so not found")

    assert verdict(broken, "within") == (math.inf, "fails: OSError: libbroken.so not found")
    assert norm_error(broken, arrays, 1.0) == math.inf
    for norm in (math.nan, math.inf):
        lost = dataclasses.replace(bind("numpy", arrays), clip_norm=lambda limit, norm=norm: norm)
        assert norm_error(lambda arrays, lost=lost: lost, arrays, 1.0) == math.inf
        error, fault = verdict(lambda arrays, lost=lost: lost, "within")
        assert error == math.inf
        assert fault.startswith("wrong: the norm is ")


def test_who_keeps_the_norm_is_judged_by_what_it_leaves():
    arrays = WORKLOADS["rl_policy"].arrays()
    before = [array.tobytes() for array in arrays]

    def silent(arrays, factor=1.0):
        clip = bind("numpy", arrays).clip_norm
        return dataclasses.replace(
            bind("numpy", arrays), clip_norm=lambda limit: clip(factor * limit) and None, returns_norm=False
        )

    exact = exact_norm(arrays)
    assert UNSEEN <= norm_error(silent, arrays, exact) < WRONG["f32"]
    assert norm_error(functools.partial(silent, factor=1.125), arrays, exact) == pytest.approx(0.125, rel=1e-5)
    assert [array.tobytes() for array in arrays] == before


def test_what_is_missing_is_told(monkeypatch):
    assert Entry("x:bind", "no_such_module", "no-such-package", ()).lacks == "pip install no-such-package"
    assert Entry("x:bind", "numpy", "numpy", ()).lacks is None
    monkeypatch.setattr(peers, "_gpus", lambda: 0)
    assert missing()["torch cuda"] == missing()["cupy"] == "needs an NVIDIA GPU and its driver"
    assert set(installed()) | set(missing()) == set(PEERS)
    assert not set(installed()) & set(missing())
    monkeypatch.setattr(peers, "_gpus", lambda: 1)
    assert PEERS["torch cuda"].lacks == PEERS["torch"].lacks


def test_nothing_is_imported_to_see_who_is_here_and_of_which_version():
    code = "from fastclip._bench.peers import *; versions(installed()); import sys; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "fastclip._bench.peers" in modules
    assert not {entry.needs for entry in PEERS.values()} - {"fastclip", "numpy"} & set(modules)


def test_versions_are_those_of_the_modules():
    found = versions(["fastclip", "numpy"])
    assert found == {"fastclip": fastclip.__version__, "numpy": np.__version__}


class Resident(np.ndarray):
    """An array as CuPy has it."""

    def get(self):
        return self.view(np.ndarray).copy()


def gpu(monkeypatch, name):
    """Have NumPy, or torch on the CPU, stand in for what needs a GPU; return the times that it was waited for."""
    waits = []
    if name == "cupy":
        stream = SimpleNamespace(synchronize=lambda: waits.append(1))
        device = SimpleNamespace(get_current_stream=lambda: stream)
        cupy = SimpleNamespace(**vars(np) | {"asarray": lambda a: a.copy().view(Resident), "cuda": device})
        monkeypatch.setitem(sys.modules, "cupy", cupy)
    else:
        torch = pytest.importorskip("torch")
        monkeypatch.setattr(torch.Tensor, "cuda", torch.Tensor.clone)
        monkeypatch.setattr(torch.cuda, "synchronize", lambda: waits.append(1))
    return waits


@pytest.mark.parametrize(
    ("name", "operation"), [(name, op) for name in ("cupy", "torch cuda") for op in PEERS[name].operations]
)
def test_gpu_peers_do_it_right_on_a_stand_in_and_are_waited_for(monkeypatch, name, operation):
    waits = gpu(monkeypatch, name)
    assert verdict(functools.partial(bind, name), operation).fault == ""
    arrays = WORKLOADS["rl_policy"].arrays()
    before = [array.tobytes() for array in arrays]
    waits.clear()
    getattr(bind(name, arrays), OPERATIONS[operation].call)(1e-3)
    assert waits == [1]
    assert [array.tobytes() for array in arrays] == before  # it has copies


def test_half_width_is_for_those_who_offer_it():
    assert not PEERS["numpy"].takes("within", "f16")
    assert PEERS["torch"].takes("within", "f16")
    assert PEERS["numpy"].takes("within", "f32")
    assert not PEERS["torch"].takes("positional", "f32")
