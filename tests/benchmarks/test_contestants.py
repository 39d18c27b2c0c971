# SPDX-License-Identifier: BSD-3-Clause
import math

import numpy as np
import pytest
from benchmarks.baselines import PEERS, WRONG, check_clipping, exact_norm, numpy_peer
from benchmarks.cases import WORKLOADS
from benchmarks.contestants import OPERATIONS, STEP, Values


def test_the_exact_norm_is_exact():
    arrays = WORKLOADS["rl_policy"].arrays()
    squares = [float(x) ** 2 for array in arrays for x in array.ravel()]  # exact in f64
    assert exact_norm(arrays) == pytest.approx(math.sqrt(math.fsum(squares)), rel=2**-52)


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_clips_right(name):
    check_clipping(PEERS[name], WORKLOADS["rl_policy"])


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_works_on_the_arrays_given(name):
    arrays = WORKLOADS["rl_policy"].arrays()
    norm = exact_norm(arrays)
    PEERS[name](arrays).clip_norm(norm / 2)
    assert exact_norm(arrays) == pytest.approx(norm / 2, rel=WRONG)


def values_of(arrays):
    return Values(exact_norm(arrays), bound=float(np.abs(arrays[0]).max()))


def test_within_writes_nothing():
    arrays = WORKLOADS["rl_policy"].arrays()
    before = [array.tobytes() for array in arrays]
    assert OPERATIONS["within"](numpy_peer(arrays), values_of(arrays)).sample(5) > 0
    assert [array.tobytes() for array in arrays] == before


def test_every_clip_has_something_to_clip_and_peers_may_alternate():
    arrays = WORKLOADS["rl_policy"].arrays()
    values = values_of(arrays)
    norm = values.norm
    first, second = (OPERATIONS["clip"](numpy_peer(arrays), values) for _ in range(2))
    for _ in range(10):
        first.sample(7)
        second.sample(3)
    assert values.norm == pytest.approx(norm * (1 - STEP) ** 100, rel=1e-9)
    assert exact_norm(arrays) == pytest.approx(values.norm, rel=1e-6)


def test_a_clip_that_did_not_happen_is_noticed():
    arrays = WORKLOADS["rl_policy"].arrays()
    contestant = OPERATIONS["clip"](numpy_peer(arrays), values_of(arrays))
    for array in arrays:
        array *= np.float32(0.5)
    with pytest.raises(AssertionError, match="nothing to clip"):
        contestant.sample(1)


def test_every_clip_by_value_moves_values():
    arrays = WORKLOADS["rl_policy"].arrays()
    values = values_of(arrays)
    contestant = OPERATIONS["value"](numpy_peer(arrays), values)
    for _ in range(3):
        before = arrays[0].copy()
        contestant.sample(4)
        assert (arrays[0] != before).any()
    assert max(float(np.abs(array).max()) for array in arrays) == np.float32(values.bound)
