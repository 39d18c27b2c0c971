# SPDX-License-Identifier: BSD-3-Clause
"""The floating-point state of the calling thread: rounding mode, flushing of subnormal numbers, exception flags.

C's fegetenv and fesetenv hold all of it: on x86-64 with glibc or musl, 28 bytes for the x87 and then MXCSR; on
AArch64, FPCR and FPSR.
"""

import contextlib
import ctypes
import platform
import struct

_libm = ctypes.CDLL(None)
_X86 = platform.machine() in ("x86_64", "AMD64")

if _X86:
    _AT, _FLAGS = 28, 0x3F  # of MXCSR; control bits above: DAZ, masks, rounding, FTZ
    ROUNDING = {"nearest": 0x0000, "down": 0x2000, "up": 0x4000, "toward zero": 0x6000}
    FLUSH = {"keep": 0x0000, "flush": 0x8040}  # FTZ and DAZ
    _ROUNDING_BITS, _FLUSH_BITS = 0x6000, 0x8040
else:
    _AT, _FLAGS = 0, 0
    ROUNDING = {"nearest": 0 << 22, "up": 1 << 22, "down": 2 << 22, "toward zero": 3 << 22}
    FLUSH = {"keep": 0, "flush": 1 << 24}
    _ROUNDING_BITS, _FLUSH_BITS = 3 << 22, 1 << 24


def _read():
    block = ctypes.create_string_buffer(64)
    if _libm.fegetenv(block) != 0:
        raise OSError("fegetenv")
    return block


def get():
    """The control word without its exception flags."""
    return struct.unpack_from("I", _read(), _AT)[0] & ~_FLAGS


def get_flags():
    """The exception flags that are up (x86-64 only)."""
    return struct.unpack_from("I", _read(), _AT)[0] & _FLAGS


def _set(word):
    block = _read()
    struct.pack_into("I", block, _AT, word)
    if _libm.fesetenv(block) != 0:
        raise OSError("fesetenv")


@contextlib.contextmanager
def state(rounding="nearest", flush="keep"):
    """Run a block in another state; yields the control word that it must still have at its end."""
    before = get()
    _set(before & ~(_ROUNDING_BITS | _FLUSH_BITS) | ROUNDING[rounding] | FLUSH[flush])
    try:
        yield get()
    finally:
        _set(before)
