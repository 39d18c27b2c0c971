# SPDX-License-Identifier: BSD-3-Clause
import functools
import operator

import numpy as np
import pytest
from benchmarks import limit

SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-39, 3.4e38], dtype=np.float32)


def awkward_arrays():
    """Sizes about a cache line and a vector, at every word offset in a line, with all special values."""
    rng = np.random.default_rng(0)
    arrays = []
    for offset in range(16):
        for size in (0, 1, 2, 15, 16, 17, 31, 33, 127, 128, 129, 511, 1000):
            words = rng.standard_normal(size + offset + 16).astype(np.float32)
            place = words[offset : offset + size]
            place[: SPECIAL.size] = SPECIAL[:size]
            arrays.append(place)
    arrays.append(rng.standard_normal(100_003).astype(np.float32))
    return arrays


def settings():
    found = limit.Probe([]).settings()
    return [*found, *(limit.Setting(s.variant, s.name, 7) for s in found if s.threads == 1)]


@pytest.mark.parametrize("setting", settings(), ids=lambda s: f"{s.name} {s.threads}t")
def test_passes_leave_every_bit_and_read_every_word_once(setting):
    arrays = awkward_arrays()
    wholes = [array if array.base is None else array.base for array in arrays]
    before = [whole.tobytes() for whole in wholes]
    probe = limit.Probe(arrays)
    assert probe.seconds(setting, write=True, warm=2, passes=3) > 0
    assert probe.seconds(setting, write=False, warm=2, passes=3) > 0
    assert [whole.tobytes() for whole in wholes] == before

    words = [int(np.bitwise_xor.reduce(array.view(np.uint32))) for array in arrays]
    assert probe.checksum(setting) == functools.reduce(operator.xor, words)


def test_every_thread_count_is_offered_up_to_the_cores():
    counts = limit.thread_counts()
    assert counts[0] == 1
    assert list(counts) == sorted(set(counts))
    assert {s.threads for s in limit.Probe([]).settings()} == set(counts)


def test_what_cannot_run_is_refused():
    probe = limit.Probe([np.ones(100, np.float32)])
    with pytest.raises(ValueError, match="cannot run"):
        probe.seconds(limit.Setting(99, "none", 1), write=False)
    with pytest.raises(ValueError, match="cannot run"):
        probe.seconds(limit.Setting(0, "baseline", 0), write=False)
    read_only = np.ones(100, np.float32)
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="writable"):
        limit.Probe([read_only])
