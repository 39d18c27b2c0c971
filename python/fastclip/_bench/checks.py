# SPDX-License-Identifier: BSD-3-Clause
"""Every peer is seen to do its work, against NumPy and exact norms, before anybody takes its time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from fastclip._bench.cases import WORKLOADS, FloatArray, Workload
from fastclip._bench.contestants import example_norms, norms_of
from fastclip._bench.exact import SCALED, WRONG, Make, exact_norm
from fastclip._bench.peers.base import Peer, PeerError, able

EXAMPLES = Workload("examples", "small", ((8, 32, 16), (8, 32), (8, 10, 32), (8, 10)))


def _bytes(arrays: Sequence[FloatArray]) -> list[bytes]:
    return [array.tobytes() for array in arrays]


def _results(peer: Peer, answer: Any) -> list[FloatArray]:
    """Return the arrays in an answer, behind the norm if there is one."""
    return [peer.to_numpy(array) for array in (answer[1] if isinstance(answer, tuple) else answer)]


def _after(peer: Peer, answer: Any, arrays: Sequence[FloatArray]) -> list[FloatArray]:
    return peer.now(arrays) if peer.in_place else _results(peer, answer)


def _bound(array: FloatArray) -> float:
    return float(np.abs(array).max()) / 2


def _compare(got: Sequence[FloatArray], wanted: Sequence[FloatArray], dtype: str, wrong: str) -> float:
    """Return how far off the results are as a whole; raise AssertionError where an element is too far off."""
    difference = scale = 0.0
    for array, right in zip(got, wanted, strict=True):
        assert array.shape == right.shape, f"shape {array.shape} instead of {right.shape}"
        values = array.astype(np.float64)
        # numbers that f16 has no full digits for are off by half of their last place, 2^-25, besides
        assert np.allclose(values, right, rtol=2 * SCALED[dtype], atol=2**-25), wrong
        difference += float(np.sum((values - right) ** 2))
        scale += float(np.sum(right**2))
    return math.sqrt(difference / scale)


def _scaled(arrays: Sequence[FloatArray], factor: Any) -> list[FloatArray]:
    return [array.astype(np.float64) * factor for array in arrays]


def check_norm(make: Make, arrays: list[FloatArray], dtype: str) -> float:
    """See that a peer clips by global norm right, and changes nothing within the limit."""
    before = [array.copy() for array in arrays]
    exact = exact_norm(arrays)
    peer = make(arrays)
    clip_norm = able(peer.clip_norm)
    answer = clip_norm(10 * exact)
    assert _bytes(_after(peer, answer, arrays)) == _bytes(before), "something changed within the limit"
    if peer.returns_norm:
        norm = peer.norm(answer)
        assert abs(norm / exact - 1) < WRONG[dtype], f"the norm is {norm:.9g}, not {exact:.9g}"
    after = _after(peer, clip_norm(exact / 2), arrays)
    if not peer.in_place:
        assert _bytes(arrays) == _bytes(before), "clipping into new arrays changed the old ones"
    error = _compare(after, _scaled(before, 0.5), dtype, "scaled wrongly")
    reached = exact_norm(after) / (exact / 2)
    assert abs(reached - 1) < SCALED[dtype], f"clipping by norm reached {reached} times the limit"
    return error


def check_value(make: Make, arrays: list[FloatArray], dtype: str) -> float:
    """See that a peer clips by value to np.clip's very bits."""
    bound = _bound(arrays[0])
    expected = [np.clip(array, -bound, bound) for array in arrays]
    peer = make(arrays)
    after = _after(peer, able(peer.clip_value)(bound), arrays)
    assert _bytes(after) == _bytes(expected), "clipping by value differs from np.clip"
    return 0.0


def check_clip_out(make: Make, arrays: list[FloatArray], dtype: str) -> float:
    """See that a peer's clip into a place given has np.clip's very bits."""
    bound = _bound(arrays[0])
    expected = np.clip(arrays[0], -bound, bound)
    peer = make(arrays)
    able(peer.clip_out)(bound)
    assert peer.now(arrays)[0].tobytes() == expected.tobytes(), "clip(out=) differs from np.clip"
    return 0.0


def check_clip_new(make: Make, arrays: list[FloatArray], dtype: str) -> float:
    """See that a peer clips into new arrays right and leaves the old ones alone."""
    before = [array.copy() for array in arrays]
    exact = exact_norm(arrays)
    peer = make(arrays)
    answer = able(peer.clip_new)(exact / 2)
    norm = float(answer[0])
    assert abs(norm / exact - 1) < WRONG[dtype], f"the norm is {norm:.9g}, not {exact:.9g}"
    assert _bytes(peer.now(arrays)) == _bytes(before), "clipping into new arrays changed the old ones"
    return _compare(_results(peer, answer), _scaled(before, 0.5), dtype, "scaled wrongly")


def check_each(make: Make, arrays: list[FloatArray], dtype: str) -> float:
    """See that a peer clips the arrays beyond the limit to it and leaves the others alone."""
    before = _scaled(arrays, 1)
    norms = norms_of(arrays)
    limit = float(np.median(norms))
    peer = make(arrays)
    after = _after(peer, able(peer.clip_each)(limit), arrays)
    wanted = [array * min(1, limit / norm) for array, norm in zip(before, norms, strict=True)]
    return _compare(after, wanted, dtype, "arrays clipped wrongly")


def check_rows(make: Make, arrays: list[FloatArray], dtype: str) -> float:
    """See that a peer clips the rows beyond the limit to it and leaves the others alone."""
    before = arrays[0].astype(np.float64)
    norms = norms_of(arrays[0])
    limit = float(np.median(norms))
    peer = make(arrays)
    after = _after(peer, able(peer.clip_rows)(limit), arrays)
    wanted = before * np.minimum(1, limit / norms)[:, None]
    return _compare(after[:1], [wanted], dtype, "rows clipped wrongly")


def check_per_example(make: Make, arrays: list[FloatArray], dtype: str) -> float:
    """See that a peer adds up the examples, those beyond the limit clipped to it, and leaves them alone."""
    before = [array.copy() for array in arrays]
    norms = example_norms(arrays)
    limit = float(np.median(norms))
    factors = np.minimum(1, limit / norms)
    peer = make(arrays)
    sums = _results(peer, able(peer.per_example)(limit))
    assert _bytes(peer.now(arrays)) == _bytes(before), "adding up the examples changed them"
    # A sum cancels: what counts is the error next to what was added up.
    wanted = [np.tensordot(factors, array.astype(np.float64), axes=1) for array in before]
    sizes = [np.sqrt(np.tensordot(factors**2, array.astype(np.float64) ** 2, axes=1)) for array in before]
    errors = [np.abs(got - right) / size for got, right, size in zip(sums, wanted, sizes, strict=True)]
    error = float(max(array.max() for array in errors))
    assert error < WRONG[dtype], "examples added up wrongly"
    return error


def check_update(make: Make, arrays: list[FloatArray], dtype: str) -> float:
    """See that a peer clips the difference of two lists right, and leaves what it was made of alone."""
    before = [array.copy() for array in arrays]
    exact = exact_norm(arrays)
    peer = make(arrays)
    clip_update, updated = able(peer.clip_update), able(peer.updated)
    clip_update(10 * exact)
    assert _bytes(updated()) == _bytes(before), "something changed within the limit"
    clip_update(exact / 2)
    assert _bytes(arrays) == _bytes(before), "clipping a copy changed the arrays"
    return _compare(updated(), _scaled(before, 0.5), dtype, "scaled wrongly")


def check_call(make: Make, arrays: list[FloatArray], dtype: str) -> float:
    """See that a peer's clip, called both ways, has np.clip's very bits, of arrays and of numbers."""
    clip = able(make(arrays).clip)
    bound = _bound(arrays[0])
    for value in (arrays[0], 2 * bound, bound / 2):
        wanted = np.clip(value, -bound, bound).tobytes()
        assert clip(value, -bound, bound).tobytes() == wanted, "clip(a, low, high) differs from np.clip"
        assert clip(value, a_min=-bound, a_max=bound).tobytes() == wanted, "clip(a_min=, a_max=) differs from np.clip"
    return 0.0


CHECKS: dict[str, Callable[[Make, list[FloatArray], str], float]] = {
    "within": check_norm,
    "clip": check_norm,
    "value": check_value,
    "clip_out": check_clip_out,
    "clip_new": check_clip_new,
    "each": check_each,
    "rows": check_rows,
    "per_example": check_per_example,
    "update_within": check_update,
    "update_clip": check_update,
    "positional": check_call,
    "keywords": check_call,
}


def check(make: Make, operation: str, dtype: str = "f32") -> float:
    """Return the error of a peer's results on small arrays of the dtype; raise AssertionError if they are wrong."""
    workload = EXAMPLES if operation == "per_example" else WORKLOADS["rl_policy"]
    return CHECKS[operation](make, replace(workload, dtype=dtype).arrays(), dtype)


class Verdict(NamedTuple):
    """Hold the error of a peer's results, infinity if they are wrong, and what is wrong with them."""

    error: float
    fault: str = ""


def reason(error: Exception) -> str:
    """Return what a peer's error says, of whichever kind it is."""
    return str(error) if isinstance(error, PeerError) else f"{type(error).__name__}: {error}"


def verdict(make: Make, operation: str, dtype: str = "f32") -> Verdict:
    """Check a peer, which may do or raise what it likes."""
    try:
        return Verdict(check(make, operation, dtype))
    except AssertionError as error:
        return Verdict(math.inf, f"wrong: {error}")
    except Exception as error:  # of a library, hence of any kind
        return Verdict(math.inf, f"fails: {reason(error)}")
