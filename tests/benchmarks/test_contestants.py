# SPDX-License-Identifier: BSD-3-Clause
import dataclasses
import functools
import math

import numpy as np
import pytest

from fastclip._bench.cases import WORKLOADS
from fastclip._bench.checks import CHECKS, EXAMPLES, check
from fastclip._bench.contestants import OPERATIONS, STEP, example_norms, norms_of, values_of
from fastclip._bench.exact import WRONG, exact_norm
from fastclip._bench.peers import PEERS, bind


def test_the_exact_norm_is_exact():
    arrays = WORKLOADS["rl_policy"].arrays()
    squares = [float(x) ** 2 for array in arrays for x in array.ravel()]  # exact in f64
    assert exact_norm(arrays) == pytest.approx(math.sqrt(math.fsum(squares)), rel=2**-52)


start_clip = OPERATIONS["clip"].start


def sharing(operation):
    """The peers that do it in this process."""
    return [name for name, entry in PEERS.items() if entry.takes(operation, "f32") and not entry.isolated]


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_peer_that_does_nothing_is_found_out(operation, in_place):
    def idle(arrays):
        norm = exact_norm(arrays)
        return dataclasses.replace(
            bind("numpy", arrays),
            clip_norm=lambda limit: norm if in_place else (norm, arrays),
            clip_value=lambda bound: arrays,
            clip_each=lambda limit: arrays,
            clip_out=lambda bound: None,
            clip_new=lambda limit: (norm, arrays),
            clip_rows=lambda limit: arrays,
            clip=lambda a, a_min, a_max: np.asarray(a),
            clip_update=lambda limit: norm,
            updated=lambda: arrays,
            per_example=lambda limit: [array.sum(axis=0) for array in arrays],
            in_place=in_place,
        )

    with pytest.raises(AssertionError):
        check(idle, operation)
    assert set(CHECKS) == set(OPERATIONS)


def test_a_peer_that_writes_within_the_limit_or_reports_a_wrong_norm_is_found_out():
    def peer(arrays, report, touch):
        clip = bind("numpy", arrays).clip_norm

        def clip_norm(limit):
            arrays[0][0, 0] *= touch
            return report * clip(limit)

        return dataclasses.replace(bind("numpy", arrays), clip_norm=clip_norm)

    with pytest.raises(AssertionError, match="within the limit"):
        check(functools.partial(peer, report=1, touch=np.float32(1.0000002)), "within")
    with pytest.raises(AssertionError, match="the norm is"):
        check(functools.partial(peer, report=1.0001, touch=1), "within")


def test_clipping_by_one_norm_is_not_clipping_each_by_its_own():
    def jointly(arrays):
        peer = bind("numpy", arrays)
        return dataclasses.replace(peer, clip_each=peer.clip_norm)

    with pytest.raises(AssertionError, match="arrays clipped wrongly"):
        check(jointly, "each")


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


@pytest.mark.parametrize("name", sharing("clip_new"))
def test_new_arrays_leave_the_old_ones(need, name):
    need(name)
    arrays = WORKLOADS["rl_policy"].arrays()
    before = [array.tobytes() for array in arrays]
    assert OPERATIONS["clip_new"].start(bind(name, arrays), values_of(arrays)).sample(3) > 0
    assert [array.tobytes() for array in arrays] == before


@pytest.mark.parametrize("name", sharing("rows"))
def test_every_row_is_clipped_by_every_call(need, name):
    need(name)
    arrays = WORKLOADS["cache_1mb"].arrays()
    values = values_of(arrays)
    contestant = OPERATIONS["rows"].start(bind(name, arrays), values)
    smallest = values.smallest
    for _ in range(3):
        contestant.sample(4)
    assert values.smallest == pytest.approx(smallest * (1 - STEP) ** 12, rel=1e-9)
    norms = np.linalg.norm(arrays[0], axis=1)
    assert norms == pytest.approx(values.smallest, rel=1e-6)  # torch adds 1e-7 to a norm of 0.14


@pytest.mark.parametrize("name", sharing("each"))
def test_every_array_is_clipped_by_every_call(need, name):
    need(name)
    arrays = WORKLOADS["tiny_many"].arrays()
    values = values_of(arrays)
    contestant = OPERATIONS["each"].start(bind(name, arrays), values)
    smallest = values.smallest
    for _ in range(3):
        contestant.sample(4)
    assert values.smallest == pytest.approx(smallest * (1 - STEP) ** 12, rel=1e-9)
    norms = [np.linalg.norm(array) for array in arrays]
    assert norms == pytest.approx([values.smallest] * len(arrays), rel=3e-5)  # torch adds 1e-6 to one of 0.06


@pytest.mark.parametrize("name", ["numpy", "fastclip"])
def test_arrays_that_were_not_clipped_are_noticed(name):
    arrays = WORKLOADS["tiny_many"].arrays()
    contestant = OPERATIONS["each"].start(bind(name, arrays), values_of(arrays))
    for array in arrays:
        array *= np.float32(0.5)
    with pytest.raises(AssertionError, match="every array"):
        contestant.sample(1)


@pytest.mark.parametrize("name", sharing("per_example"))
def test_examples_stay_as_they_are(need, name):
    need(name)
    arrays = EXAMPLES.arrays()
    before = [array.tobytes() for array in arrays]
    assert OPERATIONS["per_example"].start(bind(name, arrays), values_of(arrays)).sample(3) > 0
    assert [array.tobytes() for array in arrays] == before


def test_an_examples_norm_is_over_all_arrays():
    arrays = EXAMPLES.arrays()
    joined = np.concatenate([array.reshape(len(array), -1) for array in arrays], axis=1)
    assert example_norms(arrays) == pytest.approx(np.linalg.norm(joined.astype(np.float64), axis=1), rel=1e-14)


@pytest.mark.parametrize("operation", ["clip", "value", "each", "rows"])
def test_who_makes_new_arrays_is_given_the_same_limit_in_every_call(operation):
    arrays = WORKLOADS["rl_policy"].arrays()
    given = []
    call = OPERATIONS[operation].call
    peer = dataclasses.replace(bind("numpy", arrays), in_place=False, **{call: given.append})
    values = values_of(arrays)
    assert OPERATIONS[operation].start(peer, values).sample(5) > 0
    assert len(given) == 5
    assert len(set(given)) == 1
    largest = {"value": max(float(np.abs(array).max()) for array in arrays)}
    assert 0 < given[0] < largest.get(operation, norms_of(arrays).max())


def test_who_keeps_the_norm_and_always_writes_is_given_a_limit_beyond_it():
    arrays = WORKLOADS["rl_policy"].arrays()
    given = []
    peer = dataclasses.replace(bind("numpy", arrays), clip_norm=given.append, returns_norm=False, always_writes=True)
    values = values_of(arrays)
    norm = values.norm
    assert start_clip(peer, values).sample(5) > 0
    assert given == [10 * norm] * 5
    assert values.norm == norm


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


def test_who_clips_below_the_limit_does_not_leave_the_next_one_idle():
    """torch divides by the norm and 1e-6, which is a tenth of a norm of 1e-5."""
    arrays = [np.full(100, 1e-6, np.float32)]
    values = values_of(arrays)
    theirs, ours = (start_clip(bind(peer, arrays), values) for peer in ("torch", "fastclip"))
    for _ in range(3):
        theirs.sample(2)
        assert ours.sample(2) > 0


def test_arrays_that_have_faded_grow_again():
    """A small array is clipped millions of times in a run."""
    arrays = [np.full(10, 2.0**-140, np.float32)]
    values = values_of(arrays)
    values.whole = 2.0**12 * values.norm
    contestant = start_clip(bind("fastclip", arrays), values)
    contestant.sample(3)
    assert values.norm == pytest.approx(2.0**10 * math.sqrt(10) * 2.0**-140, rel=4 * STEP, abs=0)
    assert exact_norm(arrays) == pytest.approx(values.norm, rel=2.0**-20, abs=0)
