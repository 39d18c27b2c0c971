# SPDX-License-Identifier: BSD-3-Clause
"""Who takes part: one module for each library, and this list of them.

All work on NumPy's memory where their library can, torch through `from_numpy`. So every peer meets the same
addresses, page sizes (NumPy asks for huge pages from 4 MB on, torch by itself does not) and alignment.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

from fastclip._bench.cases import FloatArray
from fastclip._bench.peers.base import Peer


@dataclass(frozen=True)
class Entry:
    """Say where a peer is made, which module must be importable for it, and what pip calls that."""

    module: str  # of this package, and its function that makes the peer of a list of arrays, behind the colon
    needs: str
    install: str
    isolated: bool = False  # runs in a process of its own


PEERS: dict[str, Entry] = {
    "fastclip": Entry("fastclip:bind", "fastclip", "fastclip"),
    "numpy": Entry("numpy:bind", "numpy", "numpy"),
    "torch": Entry("torch:bind", "torch", "torch"),
}


def installed() -> list[str]:
    """List the peers that can run here."""
    return [name for name, entry in PEERS.items() if importlib.util.find_spec(entry.needs) is not None]


def missing() -> dict[str, str]:
    """Return for each peer that is not installed the command that would install it."""
    here = installed()
    return {name: f"pip install {entry.install}" for name, entry in PEERS.items() if name not in here}


def bind(name: str, arrays: Sequence[FloatArray]) -> Peer:
    """Bind a peer to a list of arrays."""
    module, _, function = PEERS[name].module.partition(":")
    made = getattr(importlib.import_module(f"{__name__}.{module}"), function)(arrays)
    assert isinstance(made, Peer)
    return made
