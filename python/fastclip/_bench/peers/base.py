# SPDX-License-Identifier: BSD-3-Clause
"""What a peer is: what it calls its clipping, bound to a list of arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Peer:
    """Bind a library's clipping to a list of arrays; what it can't do is None."""

    name: str
    clip_norm: Callable[[float], Any] | None = None  # takes the limit, returns the norm before clipping
    clip_value: Callable[[float], Any] | None = None  # takes the bound, clips to [-bound, bound]
    clip_new: Callable[[float], Any] | None = None  # clip_norm into new arrays; returns the norm before and them
    clip_out: Callable[[float], Any] | None = None  # clip_value of the first array by the peer's clip, with a place
    clip_rows: Callable[[float], Any] | None = None  # takes the limit of each row's norm in the first array
    clip: Callable[..., Any] | None = None  # the peer's np.clip, if it has the same arguments
    always_writes: bool = False  # multiplies by 1 within the limit, too


def able(call: Callable[..., Any] | None) -> Callable[..., Any]:
    """Return what a peer can do; that it can has been seen before."""
    if call is None:
        raise TypeError("asked for what this peer can't do")
    return call
