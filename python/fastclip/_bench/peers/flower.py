# SPDX-License-Identifier: BSD-3-Clause
"""Flower: `clip_inputs_inplace` and `compute_clip_model_update`, with which it bounds what a client sends."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Sequence
from typing import Any

from fastclip._bench.cases import FloatArray
from fastclip._bench.peers.base import Peer, Update

_PLACES = ("flwr.supercore.differential_privacy", "flwr.common.differential_privacy")  # in new and older releases


def _flower() -> Any:
    for place in _PLACES:
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError:
            continue
    raise ImportError(f"flwr has its clip_inputs_inplace in none of {', '.join(_PLACES)}")


def _bind(name: str, module: Any, arrays: Sequence[FloatArray], always_writes: bool) -> Peer:
    update = Update(arrays, module.compute_clip_model_update)
    return Peer(
        name,
        clip_norm=functools.partial(module.clip_inputs_inplace, list(arrays)),
        clip_update=update,
        updated=update.updated,
        returns_norm=False,
        always_writes=always_writes,
    )


def bind(arrays: Sequence[FloatArray]) -> Peer:
    """Bind Flower's functions. They return no norm."""
    return _bind("flower", _flower(), arrays, always_writes=True)


def bind_fastclip(arrays: Sequence[FloatArray]) -> Peer:
    """Bind fastclip's own functions of those names."""
    from fastclip import flwr as ours

    return _bind("fastclip.flwr", ours, arrays, always_writes=False)
