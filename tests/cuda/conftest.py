# SPDX-License-Identifier: BSD-3-Clause
"""CuPy's place is taken by a fake over NumPy's memory, whose kernels run on the CPU."""

import importlib.util
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def _load(name):
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# The helpers of these tests stand beside them; pytest's importlib mode puts no folder on the path.
for helper in ("mutants", "build", "fakecupy", "lists", "batches", "nvrtc", "ways", "realcupy"):
    _load(helper)
real = sys.modules["realcupy"]
emulated_gpu = real.Gpu() if real.wanted() else None


@pytest.fixture
def cp(request):
    """The fake CuPy, in the place of the real one; or the real one, where the process has a device for it."""
    if emulated_gpu:
        with real.LikeTheFake(emulated_gpu) as cupy:
            yield cupy
        return
    fake = sys.modules["fakecupy"]
    request.getfixturevalue("monkeypatch").setitem(sys.modules, "cupy", fake)
    fake.cuda.reset()
    yield fake


@pytest.fixture
def fake(cp):
    """The fake alone: for what needs a second device."""
    if emulated_gpu:
        pytest.skip("this device is the only one")
    return cp


@pytest.fixture
def emulated():
    """The device of CuPy as it is, as it was at first: its streams are lazy."""
    assert emulated_gpu, "test_cupy.py runs this in a process that has one"
    emulated_gpu.reset()
    yield emulated_gpu
    emulated_gpu.reset()
