# SPDX-License-Identifier: BSD-3-Clause
"""What a peer is: what it calls its clipping, bound to a list of arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastclip._bench.cases import FloatArray


class PeerError(RuntimeError):
    """A peer's failure in a process of its own, told with its name."""


@dataclass(frozen=True)
class Peer:
    """Bind a library's clipping to a list of arrays; what it can't do is None.

    Who works in place returns the norm, if anything, and what it did is seen in `now`. Who does not returns new
    arrays of its own kind, and where there is a norm, the norm and them. No call returns before its work is done.
    """

    name: str
    clip_norm: Callable[[float], Any] | None = None  # takes the limit, returns the norm before clipping
    clip_value: Callable[[float], Any] | None = None  # takes the bound, clips to [-bound, bound]
    clip_each: Callable[[float], Any] | None = None  # takes the limit of each array's own norm
    clip_rows: Callable[[float], Any] | None = None  # takes the limit of each row's norm in the first array
    clip_new: Callable[[float], Any] | None = None  # clip_norm into new arrays; returns the norm before and them
    clip_out: Callable[[float], Any] | None = None  # clip_value of the first array by the peer's clip, with a place
    clip: Callable[..., Any] | None = None  # the peer's np.clip, if it has the same arguments
    # Takes the limit of each example's norm, over all arrays: their first axis counts the examples. Returns for each
    # array the sum over the clipped examples and leaves the arrays alone.
    per_example: Callable[[float], Any] | None = None
    # Takes the limit of the norm of an update, which is a copy of the arrays; returns the norm.
    clip_update: Callable[[float], Any] | None = None
    updated: Callable[[], Sequence[FloatArray]] | None = None  # what is left of that update
    in_place: bool = True  # but for clip_new and per_example, which never are
    returns_norm: bool = True
    always_writes: bool = False  # multiplies by 1 within the limit, too
    adds_to_norm: bool = False  # 1e-6, as torch does: it clips to a little less than the limit
    own: Callable[[], Sequence[Any]] | None = None  # what it works on in place, if that is not the arrays' memory
    to_numpy: Callable[[Any], FloatArray] = np.asarray  # from an array of its own kind

    def now(self, arrays: Sequence[FloatArray]) -> list[FloatArray]:
        """Return the arrays that it was bound to as they are after the calls so far."""
        return list(arrays) if self.own is None else [self.to_numpy(array) for array in self.own()]

    def norm(self, answer: Any) -> float:
        """Return the norm in an answer of clip_norm."""
        return float(answer if self.in_place else answer[0])


class Update:
    """A client's arrays and a server's, made at the first call: few peers are asked for an update.

    The server's are copies of those given, the client's are twice that, and so the update is the arrays, exactly. (A
    server's of 0 would cost nothing to read: the system may let one page of zeros stand for all.) Nothing else refers
    to the client's, as to those that come with a message.
    """

    def __init__(self, arrays: Sequence[FloatArray], clip: Callable[[list[Any], list[Any], float], Any]) -> None:
        self.arrays, self.clip = arrays, clip
        self.client: list[FloatArray] = []
        self.server: list[FloatArray] = []

    def __call__(self, limit: float) -> Any:
        if not self.client:
            self.client = [np.asarray(array + array) for array in self.arrays]
            self.server = [np.array(array) for array in self.arrays]
        return self.clip(self.client, self.server, limit)

    def updated(self) -> list[FloatArray]:
        """Return the update after the calls so far."""
        return [np.asarray(client - server) for client, server in zip(self.client, self.server, strict=True)]


def able(call: Callable[..., Any] | None) -> Callable[..., Any]:
    """Return what a peer can do; that it can has been seen before."""
    if call is None:
        raise TypeError("asked for what this peer can't do")
    return call
