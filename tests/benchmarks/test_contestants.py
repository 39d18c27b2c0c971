# SPDX-License-Identifier: BSD-3-Clause
import dataclasses
import functools
import math

import numpy as np
import pytest

from fastclip._bench.cases import WORKLOADS
from fastclip._bench.checks import CHECKS, check
from fastclip._bench.contestants import OPERATIONS, STEP, values_of
from fastclip._bench.exact import WRONG, exact_norm
from fastclip._bench.peers import PEERS, bind


def test_the_exact_norm_is_exact():
    arrays = WORKLOADS["rl_policy"].arrays()
    squares = [float(x) ** 2 for array in arrays for x in array.ravel()]  # exact in f64
    assert exact_norm(arrays) == pytest.approx(math.sqrt(math.fsum(squares)), rel=2**-52)


start_clip = OPERATIONS["clip"].start
HALVES = [
    (name, operation, dtype)
    for name in ("fastclip", "torch")
    for operation in ("within", "clip")
    for dtype in ("f16", "bf16")
]


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_peer_does_it_right(name, operation):
    check(functools.partial(bind, name), operation)


@pytest.mark.parametrize(("name", "operation", "dtype"), HALVES)
def test_a_peer_does_it_right_in_half_width(name, operation, dtype):
    check(functools.partial(bind, name), operation, dtype)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_peer_that_does_nothing_is_found_out(operation):
    def idle(arrays):
        return dataclasses.replace(
            bind("numpy", arrays),
            clip_norm=lambda limit: 1.0,
            clip_value=lambda bound: None,
            clip_out=lambda bound: None,
            clip_new=lambda limit: (exact_norm(arrays), arrays),
            clip_rows=lambda limit: None,
            clip=lambda a, a_min, a_max: a,
        )

    with pytest.raises(AssertionError):
        check(idle, operation)
    assert set(CHECKS) == set(OPERATIONS)


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_works_on_the_arrays_given(name):
    arrays = WORKLOADS["rl_policy"].arrays()
    norm = exact_norm(arrays)
    bind(name, arrays).clip_norm(norm / 2)
    assert exact_norm(arrays) == pytest.approx(norm / 2, rel=WRONG["f32"])


def test_within_writes_nothing():
    arrays = WORKLOADS["rl_policy"].arrays()
    before = [array.tobytes() for array in arrays]
    assert OPERATIONS["within"].start(bind("numpy", arrays), values_of(arrays)).sample(5) > 0
    assert [array.tobytes() for array in arrays] == before


def test_every_clip_has_something_to_clip_and_peers_may_alternate():
    arrays = WORKLOADS["rl_policy"].arrays()
    values = values_of(arrays)
    norm = values.norm
    first, second = (start_clip(bind("numpy", arrays), values) for _ in range(2))
    for _ in range(10):
        first.sample(7)
        second.sample(3)
    assert values.norm == pytest.approx(norm * (1 - STEP) ** 100, rel=1e-9)
    assert exact_norm(arrays) == pytest.approx(values.norm, rel=1e-6)


def test_a_clip_that_did_not_happen_is_noticed():
    arrays = WORKLOADS["rl_policy"].arrays()
    contestant = start_clip(bind("numpy", arrays), values_of(arrays))
    for array in arrays:
        array *= np.float32(0.5)
    with pytest.raises(AssertionError, match="nothing to clip"):
        contestant.sample(1)


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_in_half_width_the_norm_stays_beyond_the_limit_whoever_clips(dtype):
    arrays = dataclasses.replace(WORKLOADS["rl_policy"], dtype=dtype).arrays()
    values = values_of(arrays)
    norm = values.norm
    assert values.coarse
    ours, theirs = (start_clip(bind(peer, arrays), values) for peer in ("fastclip", "torch"))
    for _ in range(40):
        theirs.sample(3)
        ours.sample(50)  # raises where there was nothing to clip
    assert values.norm == pytest.approx(norm * (1 - STEP) ** 2000, rel=1e-9)
    assert values.norm < exact_norm(arrays) < (1 + 2 * WRONG[dtype]) * values.norm


@pytest.mark.parametrize("name", PEERS)
def test_new_arrays_leave_the_old_ones(name):
    arrays = WORKLOADS["rl_policy"].arrays()
    before = [array.tobytes() for array in arrays]
    assert OPERATIONS["clip_new"].start(bind(name, arrays), values_of(arrays)).sample(3) > 0
    assert [array.tobytes() for array in arrays] == before


@pytest.mark.parametrize("name", PEERS)
def test_every_row_is_clipped_by_every_call(name):
    arrays = WORKLOADS["cache_1mb"].arrays()
    values = values_of(arrays)
    contestant = OPERATIONS["rows"].start(bind(name, arrays), values)
    smallest = values.row
    for _ in range(3):
        contestant.sample(4)
    assert values.row == pytest.approx(smallest * (1 - STEP) ** 12, rel=1e-9)
    assert np.linalg.norm(arrays[0], axis=1) == pytest.approx(values.row, rel=1e-6)  # torch adds 1e-7 to a norm of 0.14


def test_rows_that_were_not_clipped_are_noticed():
    arrays = WORKLOADS["rl_policy"].arrays()
    contestant = OPERATIONS["rows"].start(bind("numpy", arrays), values_of(arrays))
    arrays[0] *= np.float32(0.5)
    with pytest.raises(AssertionError, match="every row"):
        contestant.sample(1)


@pytest.mark.parametrize("operation", ["positional", "keywords"])
def test_a_call_is_made_as_often_as_asked(operation):
    arrays = WORKLOADS["clip_10"].arrays()
    calls = []
    peer = dataclasses.replace(bind("numpy", arrays), clip=lambda *given, **named: calls.append((given, named)))
    values = values_of(arrays)
    assert OPERATIONS[operation].start(peer, values).sample(7) > 0
    low, high = -values.bound, values.bound
    named = {} if operation == "positional" else {"a_min": low, "a_max": high}
    given = (low, high) if operation == "positional" else ()
    assert [len(calls), calls[0][0][1:], calls[0][1]] == [7, given, named]
    assert calls[0][0][0] is arrays[0]


@pytest.mark.parametrize("operation", ["value", "clip_out"])
def test_every_clip_by_value_moves_values(operation):
    arrays = WORKLOADS["rl_policy"].arrays()
    values = values_of(arrays)
    contestant = OPERATIONS[operation].start(bind("numpy", arrays), values)
    for _ in range(3):
        before = arrays[0].copy()
        contestant.sample(4)
        assert (arrays[0] != before).any()
    clipped = arrays if operation == "value" else arrays[:1]
    assert max(float(np.abs(array).max()) for array in clipped) == np.float32(values.bound)
