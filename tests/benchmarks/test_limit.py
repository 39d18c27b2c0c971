# SPDX-License-Identifier: BSD-3-Clause
import functools
import operator

import numpy as np
import pytest

from fastclip._bench import limit

SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-39, 3.4e38], dtype=np.float32)
SIGNALLING = 0x7F800001  # a NaN that arithmetic would change


def awkward_arrays():
    """Sizes about a cache line and a vector, at every word offset in a line, with all special values."""
    rng = np.random.default_rng(0)
    arrays = []
    for offset in range(16):
        for size in (0, 1, 2, 15, 16, 17, 31, 33, 127, 128, 129, 511, 1000):
            words = rng.standard_normal(size + offset + 16).astype(np.float32)
            place = words[offset : offset + size]
            place[: SPECIAL.size] = SPECIAL[:size]
            place[8:9].view(np.uint32)[:] = SIGNALLING
            arrays.append(place)
    arrays.append(rng.standard_normal(100_003).astype(np.float32))
    return arrays


def settings():
    probe = limit.Probe([])
    found = [*probe.settings(), *probe.settings(limit.STREAMS)]
    return [*found, *(limit.Setting(s.variant, s.name, 7, s.streams) for s in found if s.threads == 1)]


@pytest.mark.parametrize("setting", settings(), ids=lambda s: f"{s.name} {s.streams}s {s.threads}t")
def test_passes_leave_every_bit_and_read_every_word_once(setting):
    arrays = awkward_arrays()
    wholes = [array if array.base is None else array.base for array in arrays]
    before = [whole.tobytes() for whole in wholes]
    probe = limit.Probe(arrays)
    for kind in limit.PASSES:
        assert probe.seconds(setting, kind, warm=2, passes=3) > 0
    assert [whole.tobytes() for whole in wholes] == before
    assert [copy.tobytes() for copy in probe.copies] == [array.tobytes() for array in arrays]

    words = [int(np.bitwise_xor.reduce(array.view(np.uint32))) for array in arrays]
    assert probe.checksum(setting) == functools.reduce(operator.xor, words)


def test_every_thread_count_is_offered_up_to_the_cores():
    counts = limit.thread_counts()
    assert counts[0] == 1
    assert list(counts) == sorted(set(counts))
    assert {s.threads for s in limit.Probe([]).settings()} == set(counts)


def test_a_copy_stays_in_its_place():
    arrays = awkward_arrays()
    probe = limit.Probe(arrays)
    setting = probe.settings()[-1]
    probe.seconds(setting, "copy")
    for copy in probe.copies:
        copy.base[:] = 0
    probe.seconds(setting, "copy")
    for array, copy in zip(arrays, probe.copies, strict=True):
        assert not array.size or array.ctypes.data % limit.LINE == copy.ctypes.data % limit.LINE
        assert np.count_nonzero(copy.base) == np.count_nonzero(copy)


def test_half_width_arrays_are_taken_as_words():
    array = np.arange(1000, dtype=np.float16)
    before = array.tobytes()
    probe = limit.Probe([array])
    for setting in (*probe.settings(), *probe.settings(limit.STREAMS)):
        probe.seconds(setting, "write")
        assert probe.checksum(setting) == np.bitwise_xor.reduce(array.view(np.uint32))
    assert array.tobytes() == before
    with pytest.raises(ValueError, match="4-byte words"):
        limit.Probe([np.ones(3, np.float16)])


def test_what_cannot_run_is_refused():
    probe = limit.Probe([np.ones(100, np.float32)])
    with pytest.raises(ValueError, match="cannot run"):
        probe.seconds(limit.Setting(99, "none", 1), "read")
    with pytest.raises(ValueError, match="cannot run"):
        probe.seconds(limit.Setting(0, "baseline", 0), "read")
    read_only = np.ones(100, np.float32)
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="writable"):
        limit.Probe([read_only])
