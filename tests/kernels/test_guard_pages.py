# SPDX-License-Identifier: BSD-3-Clause
"""No byte before or after an array is read or written: with protected pages around it, that would be a fault.

The calls run in a child process, this file as a script, which notes each case before it runs it. A fault then fails
the test with the name of the case instead of ending pytest.
"""

import ctypes
import itertools
import mmap
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from dtypes import DTYPES

import fastclip
from fastclip import _core

# around vectors, rows and blocks; from 1024 elements on, transforms align their stores first and walk as they are told
COUNTS = [*range(514), *range(1020, 1060), 1200]
RULE = _core.Rule(2.0, "propagate", False)


READS = {
    "sumsq": lambda isa, x: _core.kernel_sumsq(isa, x, 1.0),
    "sumabs": _core.kernel_sumabs,
    "maxabs": _core.kernel_maxabs,
    "counts": _core.kernel_counts,
    "first_outside of none": lambda isa, x: _core.kernel_first_outside(isa, x, -9.0, 9.0),
    "first_outside": lambda isa, x: _core.kernel_first_outside(isa, x, -0.01, 0.01),
    "measure": lambda isa, x: fastclip.measure([x, x[::2], x[::-1]]),
    "norm": lambda isa, x: fastclip.global_norm([x[::3], x]),
}
WRITES = {
    "scale": lambda isa, x: _core.kernel_scale(isa, x, x, 0.5),
    "scale in f64": lambda isa, x: _core.kernel_scale(isa, x, x, 2.0**-101),
    "clamp": lambda isa, x: _core.kernel_clamp(isa, x, x, -0.25, 0.25),
    "drop_nonfinite": _core.kernel_drop_nonfinite,
    "clip": lambda isa, x: fastclip.clip_by_global_norm_([x], 1e-3),
    "clip strided": lambda isa, x: fastclip.clip_by_global_norm_([x[::2], x[1::2]], 1e-3),
    "clip reversed": lambda isa, x: fastclip.clip_by_norm_(x[::-1], 1e-3),
    "clip each": lambda isa, x: fastclip.clip_by_norm_([x], 1e-3),
    "clip by value": lambda isa, x: fastclip.clip_by_value_(x, -0.25, 0.25),
    "clamp between": lambda isa, x: _core.kernel_clamp_between(isa, x, x, x, x),
}
COPIES = {
    "scale to": lambda isa, dst, src: _core.kernel_scale(isa, dst, src, 0.5),
    "scale to, in f64": lambda isa, dst, src: _core.kernel_scale(isa, dst, src, 2.0**-101),
    "clamp to": lambda isa, dst, src: _core.kernel_clamp(isa, dst, src, -0.25, 0.25),
    "clip to": lambda isa, dst, src: _core.clip_list([src], [dst], 1e-3, None, RULE, True),
    "copy to": lambda isa, dst, src: _core.clip_list([src], [dst], 1e30, None, RULE, True),
    "clip by value to": lambda isa, dst, src: _core.clamp_list([src], [dst], -0.25, 0.25, True),
    "clamp between, to": lambda isa, dst, src: _core.kernel_clamp_between(isa, dst, src, src, src),
}
WALKED_COPIES = {
    "copy": _core.kernel_copy,
    "scale": lambda isa, dst, src, walk: _core.kernel_scale(isa, dst, src, 0.5, walk),
    "scale in f64": lambda isa, dst, src, walk: _core.kernel_scale(isa, dst, src, 2.0**-101, walk),
    "clamp": lambda isa, dst, src, walk: _core.kernel_clamp(isa, dst, src, -0.25, 0.25, walk),
    "clamp between": lambda isa, dst, src, walk: _core.kernel_clamp_between(isa, dst, src, src, src, walk),
}
WALKS = _core.walks()
WALKED = [n for n in COUNTS if n % 64 < 2 or n >= 1020]  # walks differ from 1024 elements on, in reading from 64 on
CASES = len(COUNTS) * (2 * (len(READS) + len(WRITES)) + 4 * len(COPIES)) + len(WALKED) * len(WALKS) * (
    2 + 4 * len(WALKED_COPIES)
)


class Guarded:
    """Memory for the largest count, with a page before and one after it that nobody may touch."""

    def __init__(self, itemsize):
        page = mmap.PAGESIZE
        self._size = -(-COUNTS[-1] * itemsize // page) * page
        self._map = mmap.mmap(-1, self._size + 2 * page)
        self._bytes = np.frombuffer(self._map, np.uint8)[page : page + self._size]
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        for address in (self._bytes.ctypes.data - page, self._bytes.ctypes.data + self._size):
            if protect(address, page, 0) != 0:
                raise OSError(ctypes.get_errno(), "mprotect")

    def array(self, values, end):
        """The values, ending at the page after or beginning at the page before."""
        at = self._size - values.nbytes if end else 0
        array = self._bytes[at : at + values.nbytes].view(values.dtype)
        array[:] = values
        return array


def run_cases(isa, dtype, note):
    """Run every kernel and list function at every count and both ends; return how many cases that was."""
    _core.set_isa(isa)
    source, target = Guarded(dtype.itemsize), Guarded(dtype.itemsize)
    cases = 0

    def case(name, n, place):
        nonlocal cases
        cases += 1
        note(f"{name}, {n} elements, {place}")

    for n in COUNTS:
        values = np.sin(np.arange(1, n + 1)).astype(dtype)
        for end in (False, True):
            place = "ending at the guard" if end else "starting at the guard"
            x = source.array(values, end)
            for name, read in READS.items():
                case(name, n, place)
                read(isa, x)
            for name, write in WRITES.items():
                x[:] = values
                case(name, n, place)
                write(isa, x)
            x[:] = values
            for target_end in (False, True):
                y = target.array(values, target_end)
                target_place = f"{place}, target {'ending' if target_end else 'starting'} at its own"
                for name, copy in COPIES.items():
                    case(name, n, target_place)
                    copy(isa, y, x)
                for walk, name in itertools.product(range(len(WALKS)), WALKED_COPIES if n in WALKED else ()):
                    y[:] = 0
                    case(f"{name}, {WALKS[walk]}", n, target_place)
                    if name != "copy" or y.ctypes.data % 4 == 0:  # all that a copy promises
                        WALKED_COPIES[name](isa, y, x, walk)
            for walk in range(len(WALKS)) if n in WALKED else ():
                case(f"first_outside, {WALKS[walk]}", n, place)
                _core.kernel_first_outside(isa, x, -9.0, 9.0, walk)
    return cases


def run_child(note, *arguments):
    note.write_text("before the first case")
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    command = [sys.executable, __file__, note, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("dtype", [str(dtype) for dtype in DTYPES])
def test_nothing_beyond_an_array_is_touched(isa, dtype, tmp_path):
    note = tmp_path / "case"
    done = run_child(note, isa, dtype)
    assert done.returncode == 0, f"exit {done.returncode} in: {note.read_text().strip()}\n{done.stderr}"
    assert int(done.stdout) == CASES


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_touch_would_be_found(place, tmp_path):
    """The harness itself: an element too many on either side ends the child, with the case named."""
    note = tmp_path / "case"
    done = run_child(note, place)
    assert done.returncode == -signal.SIGSEGV
    assert note.read_text().startswith(f"one element {place}")


def child(path, *arguments):
    descriptor = os.open(path, os.O_WRONLY)

    def note(text):
        os.pwrite(descriptor, text.ljust(120).encode(), 0)

    if len(arguments) == 2:
        isa, dtype = arguments
        print(run_cases(isa, np.dtype(dtype), note))
        return
    x = Guarded(4).array(np.ones(8, np.float32), end=arguments[0] == "after")
    beyond = np.lib.stride_tricks.as_strided(x[::-1] if arguments[0] == "before" else x, (9,))
    note(f"one element {arguments[0]}")
    fastclip.global_norm([beyond])


if __name__ == "__main__":
    child(*sys.argv[1:])
