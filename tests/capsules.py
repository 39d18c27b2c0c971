# SPDX-License-Identifier: BSD-3-Clause
"""DLPack capsules as a C library would make them, every field of which a test may set."""

import ctypes
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_char_p,
    c_int,
    c_int32,
    c_int64,
    c_uint8,
    c_uint16,
    c_uint32,
    c_uint64,
    c_void_p,
    py_object,
)

LEGACY, VERSIONED = b"dltensor", b"dltensor_versioned"
READ_ONLY, COPIED = 1, 2
CODES = {"i": 0, "u": 1, "f": 2, "V": 4, "c": 5}  # V: bfloat16

_DELETER = CFUNCTYPE(None, c_void_p)
_new = ctypes.PYFUNCTYPE(py_object, c_void_p, c_char_p, c_void_p)(("PyCapsule_New", ctypes.pythonapi))
_is_valid = ctypes.PYFUNCTYPE(c_int, c_void_p, c_char_p)(("PyCapsule_IsValid", ctypes.pythonapi))
_pointer = ctypes.PYFUNCTYPE(c_void_p, c_void_p, c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))


class _Tensor(Structure):
    _fields_ = [
        ("data", c_void_p),
        ("device", c_int32),
        ("device_id", c_int32),
        ("ndim", c_int32),
        ("code", c_uint8),
        ("bits", c_uint8),
        ("lanes", c_uint16),
        ("shape", POINTER(c_int64)),
        ("strides", POINTER(c_int64)),
        ("byte_offset", c_uint64),
    ]


class _Legacy(Structure):
    _fields_ = [("tensor", _Tensor), ("context", c_void_p), ("deleter", c_void_p)]


class _Versioned(Structure):
    _fields_ = [
        ("major", c_uint32),
        ("minor", c_uint32),
        ("context", c_void_p),
        ("deleter", c_void_p),
        ("flags", c_uint64),
        ("tensor", _Tensor),
    ]


_for_ever = []  # a late call of a deleter must find something


@CFUNCTYPE(None, c_void_p)
def _destroy(capsule):
    """Do what every producer's destructor does: if nobody took the tensor, delete it."""
    for name, kind in ((LEGACY, _Legacy), (VERSIONED, _Versioned)):
        if _is_valid(capsule, name):
            pointer = _pointer(capsule, name)
            deleter = kind.from_address(pointer).deleter
            if deleter:
                _DELETER(deleter)(pointer)


class Producer:
    """Lends a NumPy array through DLPack; `fields` replace those of the structures. Counts calls of its deleter.

    A legacy one takes no `max_version`. `capsule` replaces what it makes.
    """

    def __init__(self, array, kind=VERSIONED, capsule=None, reported=1, **fields):
        self.array, self.kind, self.capsule, self.reported, self.fields = array, kind, capsule, reported, fields
        self.deleted, self.made, self.asked = 0, 0, []

    def __dlpack_device__(self):
        return (self.reported, 0)

    def __dlpack__(self, **options):
        self.asked.append(options)
        if self.kind == LEGACY and options:
            raise TypeError("__dlpack__() got an unexpected keyword argument 'max_version'")
        return self.capsule if self.capsule is not None else self.make(self.kind)

    def make(self, kind, name=None):
        managed = _Legacy() if kind == LEGACY else _Versioned(major=1)
        t, a, fields = managed.tensor, self.array, dict(self.fields)
        t.data, t.device, t.ndim, t.lanes = a.ctypes.data, 1, a.ndim, 1
        t.code, t.bits = CODES[a.dtype.kind], 8 * a.itemsize
        shape = fields.pop("shape", a.shape)
        strides = fields.pop("strides", [s // a.itemsize for s in a.strides])
        extents = (c_int64 * len(shape))(*shape) if shape is not None else None
        steps = (c_int64 * len(strides))(*strides) if strides is not None else None
        t.shape = ctypes.cast(extents, POINTER(c_int64)) if extents is not None else None
        t.strides = ctypes.cast(steps, POINTER(c_int64)) if steps is not None else None
        deleter = _DELETER(self._delete)
        managed.deleter = ctypes.cast(deleter, c_void_p).value
        for field, value in fields.items():
            setattr(t if hasattr(t, field) else managed, field, value)
        _for_ever.append((managed, extents, steps, deleter))
        self.made += 1
        return _new(ctypes.addressof(managed), name or kind, ctypes.cast(_destroy, c_void_p))

    def _delete(self, _):
        self.deleted += 1
