# SPDX-License-Identifier: BSD-3-Clause
"""Every peer is seen to do its work, against NumPy and exact norms, before anybody takes its time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from fastclip._bench.cases import WORKLOADS, FloatArray, Workload
from fastclip._bench.exact import WRONG, exact_norm
from fastclip._bench.peers.base import Peer, able

Make = Callable[[Sequence[FloatArray]], Peer]


def _bytes(arrays: Sequence[FloatArray]) -> list[bytes]:
    return [array.tobytes() for array in arrays]


def _check_scaled(got: Sequence[FloatArray], before: Sequence[FloatArray], factor: float, dtype: str) -> None:
    for array, old in zip(got, before, strict=True):
        wanted = old.astype(np.float64) * factor
        # numbers that f16 has no full digits for are off by half of their last place, 2^-25, besides
        assert np.allclose(array.astype(np.float64), wanted, rtol=2 * WRONG[dtype], atol=2**-25), "scaled wrongly"


def check_norm(make: Make, workload: Workload) -> None:
    """Raise AssertionError unless a peer clips by global norm right, and changes nothing within the limit."""
    arrays = workload.arrays()
    before = [array.copy() for array in arrays]
    exact = exact_norm(arrays)
    peer = make(arrays)
    able(peer.clip_norm)(10 * exact)
    assert _bytes(arrays) == _bytes(before), "something changed within the limit"
    able(peer.clip_norm)(exact / 2)
    _check_scaled(arrays, before, 0.5, workload.dtype)
    reached = exact_norm(arrays) / (exact / 2)
    assert abs(reached - 1) < WRONG[workload.dtype], f"clipping by norm reached {reached} times the limit"


def check_value(make: Make, workload: Workload) -> None:
    """Raise AssertionError unless a peer clips by value to np.clip's very bits."""
    arrays = workload.arrays()
    bound = float(np.abs(arrays[0]).max()) / 2
    expected = [np.clip(array, -bound, bound) for array in arrays]
    able(make(arrays).clip_value)(bound)
    assert _bytes(arrays) == _bytes(expected), "clipping by value differs from np.clip"


def check_clip_out(make: Make, workload: Workload) -> None:
    """Raise AssertionError unless a peer's clip into a place given has np.clip's very bits."""
    arrays = workload.arrays()
    bound = float(np.abs(arrays[0]).max()) / 2
    expected = np.clip(arrays[0], -bound, bound)
    able(make(arrays).clip_out)(bound)
    assert arrays[0].tobytes() == expected.tobytes(), "clip(out=) differs from np.clip"


def check_clip_new(make: Make, workload: Workload) -> None:
    """Raise AssertionError unless a peer clips into new arrays right and leaves the old ones alone."""
    arrays = workload.arrays()
    before = [array.copy() for array in arrays]
    exact = exact_norm(arrays)
    norm, clipped = able(make(arrays).clip_new)(exact / 2)
    assert abs(float(norm) / exact - 1) < WRONG[workload.dtype], f"the norm is {norm}, not {exact}"
    assert _bytes(arrays) == _bytes(before), "clipping into new arrays changed the old ones"
    _check_scaled([np.asarray(array) for array in clipped], before, 0.5, workload.dtype)


def check_rows(make: Make, workload: Workload) -> None:
    """Raise AssertionError unless a peer clips the rows beyond the limit to it and leaves the others alone."""
    arrays = workload.arrays()
    before = arrays[0].astype(np.float64)
    norms = np.sqrt((before * before).sum(axis=1, keepdims=True))
    limit = float(np.median(norms))
    able(make(arrays).clip_rows)(limit)
    wanted = before * np.minimum(1, limit / norms)
    assert np.allclose(arrays[0], wanted, rtol=WRONG[workload.dtype], atol=0), "rows clipped wrongly"


def check_call(make: Make, workload: Workload) -> None:
    """Raise AssertionError unless a peer's clip, called both ways, has np.clip's very bits."""
    arrays = workload.arrays()
    clip = make(arrays).clip
    if clip is None:
        return
    bound = float(np.abs(arrays[0]).max()) / 2
    wanted = np.clip(arrays[0], -bound, bound).tobytes()
    assert clip(arrays[0], -bound, bound).tobytes() == wanted, "clip(a, low, high) differs from np.clip"
    assert clip(arrays[0], a_min=-bound, a_max=bound).tobytes() == wanted, "clip(a_min=, a_max=) differs from np.clip"


CHECKS: dict[str, Callable[[Make, Workload], None]] = {
    "within": check_norm,
    "clip": check_norm,
    "value": check_value,
    "clip_out": check_clip_out,
    "clip_new": check_clip_new,
    "rows": check_rows,
    "positional": check_call,
    "keywords": check_call,
}


def check(make: Make, operation: str, dtype: str = "f32") -> None:
    """Raise AssertionError unless a peer does an operation right, seen on small arrays of the dtype."""
    CHECKS[operation](make, replace(WORKLOADS["rl_policy"], dtype=dtype))
