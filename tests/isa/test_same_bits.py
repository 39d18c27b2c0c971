# SPDX-License-Identifier: BSD-3-Clause
"""The same bits on every ISA and thread count, at every alignment, split at chunk bounds or not (contract, clause 2).

All comparisons are with ==, of the norm and of every byte after clipping.
"""

import os
import sys

import numpy as np
import oracle
import pytest
from buffers import Frame, offsets, spread
from dtypes import BF16, DTYPES, F16, F32, F64, HALVES, rounded
from hypothesis import given
from strategies import array_lists, limits

import fastclip

ISAS = fastclip.show_config()["isas"]
THREADS = (1, 2, 3, 8)

KINDS = {
    "f16": [(F16, 18_000_000), (F16, 17), (F16, 3 * oracle.CHUNK + 5)],
    "bf16": [(BF16, 17), (BF16, 18_000_000), (BF16, oracle.CHUNK)],
    "f32": [(F32, 9_000_000), (F32, 17), (F32, 3 * oracle.CHUNK + 5)],
    "f64": [(F64, 17), (F64, 4_500_000), (F64, oracle.CHUNK)],
    "mixed": [(F32, 1_500_001), (F64, 2_000_000), (BF16, 3_000_001), (F32, 1_000_000), (F16, 3_000_000), (F64, 1)],
}
LIMIT = 0.37


def make(kind):
    """Lists of 36 to 42 MB: enough work for 8 threads."""
    return [spread(dtype, n, seed) for seed, (dtype, n) in enumerate(KINDS[kind])]


def configurations():
    for isa in ISAS:
        for threads in THREADS:
            fastclip.set_isa(isa)
            fastclip.set_num_threads(threads)
            yield isa, threads


def same(a, b):
    return all(np.array_equal(x.view(np.uint8), y.view(np.uint8)) for x, y in zip(a, b, strict=True))


def native_threads():
    return len(os.listdir("/proc/self/task"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_isa_and_thread_count_clips_alike(kind):
    arrays = make(kind)
    expected_norm = expected = None
    for configuration in configurations():
        clipped = [a.copy() for a in arrays]
        norm = fastclip.clip_by_global_norm_(clipped, LIMIT)
        if expected is None:
            expected_norm, expected = norm, clipped
            oracle.check_norm(norm, arrays)
        assert norm == expected_norm, configuration
        assert same(clipped, expected), configuration
        assert fastclip.global_norm(arrays) == expected_norm, configuration
    if sys.platform == "linux":
        assert native_threads() >= max(THREADS), "the lists were not shared out"


@pytest.mark.parametrize("kind", KINDS)
def test_every_isa_and_thread_count_clamps_and_measures_alike(kind):
    arrays = make(kind)
    expected = clamped = None
    for configuration in configurations():
        out = [a.copy() for a in arrays]
        fastclip.clip_by_value_(out, -0.25, 0.125)
        m = fastclip.measure(arrays)
        if expected is None:
            expected, clamped = m, out
            assert same(
                clamped, [np.clip(a, rounded(-0.25, a.dtype), rounded(0.125, a.dtype)).astype(a.dtype) for a in arrays]
            )
        assert m == expected, configuration
        assert same(out, clamped), configuration


def test_every_isa_and_thread_count_clips_arrays_by_their_own_norms_alike():
    arrays = [spread(F32, n) for n in (2_000_000, 5, oracle.CHUNK, 9 * oracle.CHUNK, *[131_072] * 60)]
    expected = None
    for configuration in configurations():
        out = [a.copy() for a in arrays]
        fastclip.clip_by_norm_(out, LIMIT)
        expected = expected or out
        assert same(out, expected), configuration
    for a, clipped in zip(arrays[:4], expected[:4], strict=True):
        oracle.check_clipped([a], [clipped], LIMIT)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_no_alignment_changes_a_bit(isa, dtype):
    for n in (1, 31, 33, 1000, 1024, oracle.CHUNK + 3):
        x = spread(dtype, n)
        expected = x.copy()
        norm = fastclip.clip_by_global_norm_([expected], LIMIT)
        for offset in offsets(dtype):
            frame = Frame(x, offset, 0xFF)
            assert fastclip.clip_by_global_norm_([frame.array], LIMIT) == norm, (n, offset)
            assert frame.array.tobytes() == expected.tobytes(), (n, offset)
            assert frame.untouched(), (n, offset)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_strides_and_axis_order_change_no_bit(isa, dtype):
    """Elements count in the order of memory; a gap between them, or other axes, change nothing."""
    x = spread(dtype, 3 * 50_000).reshape(3, 50_000)
    expected = x.copy()
    norm = fastclip.clip_by_global_norm_([expected], LIMIT)
    wide = np.zeros((3, 100_000), dtype)
    gaps = wide[:, ::2]
    gaps[...] = x
    unaligned = np.zeros(x.nbytes + 1, np.uint8)[1:].view(dtype).reshape(x.shape)
    unaligned[...] = x
    for view in (gaps, x.copy().T, x.copy().reshape(3, 5, 10_000).swapaxes(0, 2), unaligned):
        assert fastclip.clip_by_global_norm_([view], LIMIT) == norm
    assert gaps.tobytes() == expected.tobytes()
    assert unaligned.tobytes() == expected.tobytes()
    assert not wide[:, 1::2].any()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("threads", THREADS)
def test_a_list_split_at_chunk_bounds_gives_the_same_bits(isa, dtype, threads):
    fastclip.set_num_threads(threads)
    x = spread(dtype, 100 * oracle.CHUNK + 77)
    expected = x.copy()
    norm = fastclip.clip_by_global_norm_([expected], LIMIT)
    rng = np.random.default_rng(threads)
    for pieces in (2, 3, 10, 101):
        whole = x.copy()
        bounds = np.sort(rng.choice(np.arange(1, 101), pieces - 1, replace=False)) * oracle.CHUNK
        assert fastclip.clip_by_global_norm_(np.split(whole, bounds), LIMIT) == norm, pieces
        assert whole.tobytes() == expected.tobytes(), pieces


def test_every_run_gives_the_same_bits():
    """Who takes which chunk differs from run to run."""
    fastclip.set_num_threads(8)
    arrays = make("mixed")
    first = None
    for _ in range(10):
        out = [a.copy() for a in arrays]
        result = fastclip.clip_by_global_norm_(out, LIMIT)
        if first is None:
            first = result, out
        assert result == first[0]
        assert same(out, first[1])


@given(array_lists(nonfinite=True), limits())
def test_any_list_is_clipped_alike_on_every_isa(arrays, limit):
    results = []
    for isa in ISAS:
        fastclip.set_isa(isa)
        out = [a.copy() for a in arrays]
        norm = fastclip.clip_by_global_norm_(out, limit)
        results.append((norm.hex(), [oracle.bits(a) for a in out], repr(fastclip.measure(arrays))))
    assert all(result == results[0] for result in results)


# The order of summation is part of the contract: these bits may never change. The input is made of integers, so
# that it depends on no library: element i (from 1) is ((i * 48271) mod 65537 - 32768) * 2^-20 / 3, in f32 with 25173;
# in f16 and bf16, exact in both, ((i * 25173) mod 251 - 125) * 2^-((i * 7) mod 13).
GOLDEN = {
    ("float16", 1): "0x1.a000000000000p-2",
    ("float16", 33): "0x1.80f06f629ce11p+6",
    ("float16", 1000): "0x1.6a37aaa9774e4p+9",
    ("float16", 100_003): "0x1.ca95e6f515fddp+12",  # of bfloat16 the same numbers, in other pairs: it shows
    ("bfloat16", 1): "0x1.a000000000000p-2",
    ("bfloat16", 33): "0x1.80f06f629ce11p+6",
    ("bfloat16", 1000): "0x1.6a37aaa9774e4p+9",
    ("bfloat16", 100_003): "0x1.ca95e6c8bb394p+12",
    ("float32", 1): "0x1.3c75560000000p-9",
    ("float32", 33): "0x1.149a4e5a40adap-5",
    ("float32", 1000): "0x1.85621c07ee5c0p-3",
    ("float32", 100_003): "0x1.e6e03cbf617d4p+0",  # 7 ULP of f64 beside the exact one: the order shows
    ("float64", 1): "0x1.42faaaaaaaaabp-8",
    ("float64", 33): "0x1.128d53c95cbfep-5",
    ("float64", 1000): "0x1.852d3da2b6924p-3",
    ("float64", 100_003): "0x1.e6e0b52266e21p+0",
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n", [1, 33, 1000, 100_003])
def test_bits_are_those_of_every_release(isa, dtype, n):
    if dtype in HALVES:
        i = np.arange(1, n + 1)
        x = np.ldexp((i * 25173) % 251 - 125.0, -((i * 7) % 13)).astype(dtype)
        assert fastclip.global_norm([x]).hex() == GOLDEN[str(dtype), n]
        return
    multiplier = 25173 if dtype == F32 else 48271
    x = (((np.arange(1, n + 1) * multiplier) % 65537 - 32768) * 2.0**-20).astype(dtype)
    assert fastclip.global_norm([x / dtype.type(3)]).hex() == GOLDEN[str(dtype), n]
