# SPDX-License-Identifier: BSD-3-Clause
"""Who takes part: one module for each library, and this list of them.

All work on NumPy's memory where their library can, torch through `from_numpy`. So every peer meets the same
addresses, page sizes (NumPy asks for huge pages from 4 MB on, torch by itself does not) and alignment. Who cannot
has a process of its own and there its own copy.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata

from fastclip._bench.cases import CALLS, UPDATES, FloatArray
from fastclip._bench.peers.base import Peer

_NORM = ("within", "clip")
_TENSORS = (*_NORM, "value", "each", "rows", "clip_new")
_HALF = ("f16", "bf16", "f32")
_EVERY = (*_HALF, "f64")


@dataclass(frozen=True)
class Entry:
    """Say where a peer is made, what it does, which module must be importable for it, and what pip calls that."""

    module: str  # of this package, and its function that makes the peer of a list of arrays, behind the colon
    needs: str
    install: str
    operations: tuple[str, ...]
    dtypes: tuple[str, ...] = ("f32",)  # NumPy's dot in f16 is no idiom of anybody's
    isolated: bool = False  # runs in a process of its own: it brings thread pools and memory of its own
    gpu: bool = False
    threads: bool = False  # its module's `set_threads` says how many it may use

    def takes(self, operation: str, dtype: str) -> bool:
        """Tell whether it takes part."""
        return operation in self.operations and dtype in self.dtypes

    @property
    def lacks(self) -> str | None:
        """Return what must be done before it can run here; nothing is imported to find out."""
        if self.gpu and not _gpus():
            return "needs an NVIDIA GPU and its driver"
        return None if importlib.util.find_spec(self.needs) else f"pip install {self.install}"


PEERS: dict[str, Entry] = {
    "fastclip": Entry(
        "fastclip:bind",
        "fastclip",
        "fastclip",
        (*_TENSORS, "clip_out", "per_example", *UPDATES, *CALLS),
        dtypes=_EVERY,
        threads=True,
    ),
    "numpy": Entry(
        "numpy:bind", "numpy", "numpy", (*_TENSORS, "clip_out", "per_example", *CALLS), dtypes=("f32", "f64")
    ),
    "scipy": Entry("scipy:bind", "scipy", "scipy", (*_NORM, "each")),
    "torch": Entry("torch:bind", "torch", "torch", (*_TENSORS, "clip_out"), dtypes=_EVERY, threads=True),
    "torch loop": Entry("torch:bind_loop", "torch", "torch", (*_NORM, "value"), dtypes=_EVERY, threads=True),
    "fastclip.torch": Entry("torch:bind_fastclip", "torch", "torch", (*_NORM, "value")),
    "tensorflow": Entry("tensorflow:bind", "tensorflow", "tensorflow", _TENSORS, dtypes=_HALF, isolated=True),
    "tf.function": Entry("tensorflow:bind_graph", "tensorflow", "tensorflow", _TENSORS, dtypes=_HALF, isolated=True),
    "fastclip.tensorflow": Entry(
        "tensorflow:bind_fastclip", "tensorflow", "tensorflow", _TENSORS, dtypes=_HALF, isolated=True
    ),
    "optax": Entry("optax:bind", "optax", "optax", (*_TENSORS, "per_example"), dtypes=_HALF, isolated=True),
    "optax donated": Entry("optax:bind_donated", "optax", "optax", (*_NORM, "value"), dtypes=_HALF, isolated=True),
    "fastclip.optax": Entry("optax:bind_fastclip", "optax", "optax", (*_NORM, "value"), dtypes=_HALF, isolated=True),
    "fastclip.optax donated": Entry(
        "optax:bind_fastclip_donated", "optax", "optax", (*_NORM, "value"), dtypes=_HALF, isolated=True
    ),
    "numba": Entry("numba:bind", "numba", "numba", (*_NORM, "value", "each", "rows", "clip_out"), threads=True),
    "flower": Entry("flower:bind", "flwr", "flwr", (*_NORM, *UPDATES)),
    "fastclip.flwr": Entry("flower:bind_fastclip", "flwr", "flwr", (*_NORM, *UPDATES)),
    "thinc": Entry("thinc:bind", "thinc", "thinc", ("each",)),
    "fastclip.thinc": Entry("thinc:bind_fastclip", "thinc", "thinc", ("each",)),
    "opacus": Entry("opacus:bind", "opacus", "opacus", ("per_example",)),
    "cupy": Entry("cupy:bind", "cupy", "cupy-cuda13x", (*_TENSORS, "clip_out"), isolated=True, gpu=True),
    "torch cuda": Entry("torch:bind_cuda", "torch", "torch", _TENSORS, dtypes=_HALF, isolated=True, gpu=True),
}


@functools.cache
def _gpus() -> int:
    """Count the NVIDIA GPUs by asking their driver, which takes milliseconds and makes no context."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


def installed() -> list[str]:
    """List the peers that can run here."""
    return [name for name, entry in PEERS.items() if entry.lacks is None]


def missing() -> dict[str, str]:
    """Return for each peer that can't run here what would change that, mostly a command."""
    return {name: entry.lacks for name, entry in PEERS.items() if entry.lacks is not None}


def versions(names: Sequence[str]) -> dict[str, str]:
    """Return the versions of installed peers' modules, of their packages' records alone: nothing is imported."""
    packages = metadata.packages_distributions()
    found = {}
    for name in names:
        needs = PEERS[name].needs
        if needs in packages:
            found[needs] = metadata.version(packages[needs][0])
        elif needs == "fastclip":  # run from a source tree
            found[needs] = str(importlib.import_module(needs).__version__)
    return found


def set_threads(name: str, count: int) -> int:
    """Let a peer use so many threads, and return how many it could use before."""
    module = importlib.import_module(f"{__name__}.{PEERS[name].module.partition(':')[0]}")
    return int(module.set_threads(count))


def bind(name: str, arrays: Sequence[FloatArray]) -> Peer:
    """Bind a peer to a list of arrays."""
    module, _, function = PEERS[name].module.partition(":")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what libraries say of each other while they are imported
        made = getattr(importlib.import_module(f"{__name__}.{module}"), function)(arrays)
    assert isinstance(made, Peer)
    return made
