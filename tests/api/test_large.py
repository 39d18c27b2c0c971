# SPDX-License-Identifier: BSD-3-Clause
"""More elements than an int32 counts, in 64 MB: one block of memory mapped again and again, and a last page apart."""

import ctypes
import mmap
import os
import sys

import numpy as np
import pytest

import fastclip

pytestmark = pytest.mark.skipif(sys.platform != "linux" or sys.maxsize < 2**32, reason="memfd and 64 bits")

BLOCK = 64 << 20
PAGE = mmap.PAGESIZE
READ_WRITE, SHARED, PRIVATE, FIXED, ANONYMOUS, NORESERVE = 3, 1, 2, 0x10, 0x20, 0x4000


@pytest.fixture
def many():
    """Make an array of n float16, all 1 but the last, which is 100, and no element's memory that of the last."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    memory = os.memfd_create("fastclip")
    os.ftruncate(memory, BLOCK)
    with mmap.mmap(memory, BLOCK) as block:
        np.frombuffer(block, np.float16)[:] = 1.0
    mapped = []

    def make(n):
        size = -(-2 * n // BLOCK) * BLOCK
        start = libc.mmap(None, size, 0, PRIVATE | ANONYMOUS | NORESERVE, -1, 0)
        assert start != ctypes.c_void_p(-1).value
        mapped.append((start, size))
        for at in range(start, start + size, BLOCK):
            assert libc.mmap(at, BLOCK, READ_WRITE, SHARED | FIXED, memory, 0) == at
        last = start + 2 * (n - 1)
        page = last // PAGE * PAGE
        assert libc.mmap(page, PAGE, READ_WRITE, PRIVATE | FIXED, memory, (page - start) % BLOCK) == page
        a = np.frombuffer((ctypes.c_uint16 * n).from_address(start), np.float16)
        a[-1] = 100.0
        return a

    yield make
    for start, size in mapped:
        libc.munmap(start, size)
    os.close(memory)


@pytest.mark.parametrize("n", [2**31 - 1, 2**31, 2**31 + 7])
def test_more_elements_than_an_int32_counts(many, n):
    a = many(n)
    expected = float(np.sqrt(np.float64(n - 1 + 100 * 100)))  # the sum is an integer below 2^53, so exact
    assert fastclip.global_norm([a]) == expected
    assert fastclip.clip_by_global_norm_([a], 1e6) == expected  # within the limit
    assert (a[0], a[-2], a[-1]) == (1.0, 1.0, 100.0)
    fastclip.clip_by_value_(a, -2.0, 2.0)
    assert (a[0], a[-2], a[-1]) == (1.0, 1.0, 2.0)
    assert fastclip.global_norm([a]) == float(np.sqrt(np.float64(n + 3)))
