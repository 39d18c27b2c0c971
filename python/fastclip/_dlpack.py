# SPDX-License-Identifier: BSD-3-Clause
"""DLPack capsules of memory that NumPy can't have. The fields are those of dlpack.h 1.0."""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple


class _Device(ctypes.Structure):
    _fields_ = (("type", ctypes.c_int32), ("id", ctypes.c_int32))


class _DType(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _DType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Versioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("manager", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


_CODES = {2: "float", 4: "bfloat"}
_OTHERS = {0: "int", 1: "uint", 5: "complex", 6: "bool"}
_READ_ONLY, _COPIED = 1, 2

# Prototypes of our own: whoever sets `ctypes.pythonapi.PyCapsule_GetPointer.restype` sets it for everybody.
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_IsValid", ctypes.pythonapi))


class Tensor(NamedTuple):
    """What a capsule says. As long as `owner` lives, the memory does."""

    pointer: int
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None  # in elements; None: in C order
    dtype: str
    device: int
    read_only: bool
    owner: Any


def read(value: Any, stream: int) -> Tensor:
    """Export `value` for work on a stream, a number as DLPack has it. The capsule is kept, and never consumed."""
    try:
        capsule = value.__dlpack__(stream=stream, max_version=(1, 0))
    except TypeError:  # older than DLPack 1
        capsule = value.__dlpack__(stream=stream)
    flags = 0
    if _is_valid(capsule, b"dltensor_versioned"):
        versioned = _Versioned.from_address(_pointer(capsule, b"dltensor_versioned"))
        if versioned.major != 1:
            raise BufferError(f"its DLPack capsule has version {versioned.major}; 1 is known")
        tensor, flags = versioned.tensor, versioned.flags
    else:
        tensor = _Tensor.from_address(_pointer(capsule, b"dltensor"))
    if flags & _COPIED:
        raise BufferError("its DLPack capsule holds a copy, which would be clipped in its place")
    kind = _CODES.get(tensor.dtype.code) or _OTHERS.get(tensor.dtype.code, "type")
    lanes = "" if tensor.dtype.lanes == 1 else f"x{tensor.dtype.lanes}"
    shape = tuple(tensor.shape[: tensor.ndim])
    strides = tuple(tensor.strides[: tensor.ndim]) if tensor.strides else None
    pointer = (tensor.data or 0) + tensor.byte_offset
    if not tensor.data and 0 not in shape:
        raise BufferError("its DLPack capsule has no memory for its elements")
    dtype = f"{kind}{tensor.dtype.bits}{lanes}"
    return Tensor(pointer, shape, strides, dtype, tensor.device.id, bool(flags & _READ_ONLY), (value, capsule))
