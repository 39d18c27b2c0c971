# SPDX-License-Identifier: BSD-3-Clause
"""Flower: `clip_inputs_inplace`, with which it bounds what a client sends."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Sequence

from fastclip._bench.cases import FloatArray
from fastclip._bench.peers.base import Peer

_PLACES = ("flwr.supercore.differential_privacy", "flwr.common.differential_privacy")  # in new and older releases


def bind(arrays: Sequence[FloatArray]) -> Peer:
    """Bind `clip_inputs_inplace`. It returns no norm."""
    for place in _PLACES:
        try:
            module = importlib.import_module(place)
        except ModuleNotFoundError:
            continue
        clip_norm = functools.partial(module.clip_inputs_inplace, list(arrays))
        return Peer("flower", clip_norm=clip_norm, returns_norm=False, always_writes=True)
    raise ImportError(f"flwr has its clip_inputs_inplace in none of {', '.join(_PLACES)}")


def bind_fastclip(arrays: Sequence[FloatArray]) -> Peer:
    """Bind fastclip's own function of that name."""
    from fastclip import flwr as ours

    clip_norm = functools.partial(ours.clip_inputs_inplace, list(arrays))
    return Peer("fastclip.flwr", clip_norm=clip_norm, returns_norm=False)
