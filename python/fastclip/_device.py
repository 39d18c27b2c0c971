# SPDX-License-Identifier: BSD-3-Clause
"""Arrays in a GPU's memory: CuPy's, and what has `__cuda_array_interface__` or DLPack. Only addresses are taken."""

from __future__ import annotations

import contextlib
import math
from typing import Any, NamedTuple, NoReturn

import numpy as np

from fastclip import _dtypes, _overlap
from fastclip._errors import show

_CUDA = (2, 13)  # DLPack's types of CUDA's memory and of its managed memory

#: NumPy's names of what the kernels know, in the order of `csrc/core/dtype.hpp`
DTYPES = ("float16", "bfloat16", "float32", "float64")
SIZES = (2, 2, 4, 8)


class DeviceArray(NamedTuple):
    """Where the elements of an array are, and who keeps them alive."""

    pointer: int
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None  # in bytes; None: in C order
    dtype: int  # an index into DTYPES
    device: int
    stream: int | None  # on which the last writer worked; None: the current one, or nothing to wait for
    owner: Any


def is_on_gpu(value: Any) -> bool:
    """Tell whether `value` lends memory of a CUDA device."""
    if isinstance(value, (np.ndarray, np.generic, memoryview, type)):
        return False
    # PyTorch's tensors have both attributes wherever they are, and the first raises if a gradient is asked for.
    with contextlib.suppress(Exception):
        if hasattr(value, "__cuda_array_interface__"):
            return True
    try:
        return hasattr(value, "__dlpack_device__") and int(value.__dlpack_device__()[0]) in _CUDA
    except Exception:  # whatever a foreign method raises: the reader says it with the entry's name
        return False


def cupy() -> Any:
    """Import CuPy, or say what is missing."""
    try:
        import cupy
    except Exception as error:  # a broken CuPy raises what it likes; with a read-only home, an OSError
        raise RuntimeError(
            f"fastclip needs CuPy for arrays on a GPU: pip install 'fastclip[cuda13]', or 'fastclip[cuda12]' for "
            f"drivers before 580. Importing it failed: {type(error).__name__}: {error}"
        ) from error
    return cupy


def gather(function: str, entries: list[tuple[str, Any]], *, write: bool) -> list[DeviceArray]:
    """Take named entries, all on one GPU; for writing, make sure that no element is in two of them."""
    on_gpu = next(name for name, value in entries if is_on_gpu(value))
    for name, value in entries:
        if not is_on_gpu(value):
            raise TypeError(
                f"{function}: {name} is {show(value)}, not on a GPU, and {on_gpu} is; move one to the other, or clip "
                "each part by itself with use_norm, the norm of both."
            )
    cp = cupy()
    arrays = []
    for name, value in entries:
        arrays.append(read(cp, function, name, value, write=write))
        if arrays[-1].device != arrays[0].device:
            raise ValueError(
                f"{function}: {name} is on GPU {arrays[-1].device} and {on_gpu} on GPU {arrays[0].device}; "
                "one call takes arrays of one device."
            )
    if write:
        _check_overlap(function, [name for name, _ in entries], arrays)
    return arrays


def _check_overlap(function: str, names: list[str], arrays: list[DeviceArray]) -> None:
    """Raise if an element is in two arrays that are not the same memory, or twice in one."""
    starts = np.array([a.pointer for a in arrays], np.int64)
    sizes = np.array([math.prod(a.shape) * SIZES[a.dtype] for a in arrays], np.int64)
    order = np.argsort(starts, kind="stable")
    apart = (starts[order][1:] >= (starts + sizes)[order][:-1]).all()
    if not apart or any(a.strides is not None for a in arrays):
        _overlap.check(function, names, [_stand_in(a) for a in arrays])


class _Interface:
    def __init__(self, a: DeviceArray) -> None:
        kind = "V2" if DTYPES[a.dtype] == "bfloat16" else f"<f{SIZES[a.dtype]}"
        self.__array_interface__ = {
            "version": 3,
            "data": (a.pointer, True),
            "shape": a.shape,
            "strides": a.strides,
            "typestr": kind,
        }


def _stand_in(a: DeviceArray) -> Any:
    """Describe an array to NumPy, for questions about addresses alone: its elements must not be touched."""
    return np.asarray(_Interface(a))


def fetch(a: DeviceArray) -> np.ndarray[Any, Any]:
    """Wait for an array and copy it to the CPU: bfloat16 as float32, which holds it exactly."""
    size = SIZES[a.dtype]
    strides = a.strides or ()
    below = sum(min(0, (n - 1) * stride) for stride, n in zip(strides, a.shape, strict=bool(strides)))
    above = sum(max(0, (n - 1) * stride) for stride, n in zip(strides, a.shape, strict=bool(strides)))
    raw = np.empty(above - below + size if strides else math.prod(a.shape) * size, np.uint8)
    device_to_host = 2
    cupy().cuda.runtime.memcpy(raw.ctypes.data, a.pointer + below, raw.nbytes, device_to_host)
    brain = DTYPES[a.dtype] == "bfloat16"
    dtype = np.dtype(np.uint16 if brain else DTYPES[a.dtype])
    array: np.ndarray[Any, Any] = np.ndarray(a.shape, dtype, raw, -below, a.strides)
    return (array.astype(np.uint32) << 16).view(np.float32) if brain else array


def numpy_dtype(code: int) -> np.dtype[Any]:
    """Return NumPy's dtype for one of the kernels'."""
    if DTYPES[code] != "bfloat16":
        return np.dtype(DTYPES[code])
    import ml_dtypes

    bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return bfloat16


def round_to(x: float, dtype: str) -> float:
    """Round a number to a dtype of the kernels, once."""
    if dtype == "bfloat16":  # by way of an f32 rounded to odd, as `_dtypes.rounded` explains; NumPy may not know it
        with np.errstate(over="ignore"):
            near = np.float32(x)
        bits = int(near.view(np.uint32))
        if math.isfinite(near) and float(near) != x and not bits & 1:
            bits += 1 if (float(near) < x) == (x > 0) else -1
        if math.isnan(x):
            return x
        return float(np.uint32((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).view(np.float32))
    return float(_dtypes.rounded(x, np.dtype(dtype)))


def once(arrays: list[DeviceArray]) -> list[DeviceArray]:
    """Leave out arrays whose memory stands earlier in the list."""
    return list({a[:4]: a for a in reversed(arrays)}.values())[::-1]


def norm_to(function: str, out: Any, arrays: list[DeviceArray]) -> Any:
    """Check where the norm is to go."""
    if out is None:
        return None
    cp = cupy()
    if not isinstance(out, cp.ndarray) or out.dtype != np.float64 or out.size != 1:
        raise TypeError(f"{function}: out is {show(out)}; expected a CuPy array of one float64.")
    if out.device.id != arrays[0].device:
        raise ValueError(f"{function}: out is on GPU {out.device.id}, the arrays are on GPU {arrays[0].device}.")
    return out


def read(cp: Any, function: str, name: str, value: Any, *, write: bool) -> DeviceArray:
    """Take one entry's address and layout, or say why they can't be used."""
    if isinstance(value, cp.ndarray):
        array = _from_cupy(function, name, value)
    elif hasattr(value, "__dlpack__"):
        array = _from_dlpack(cp, function, name, value, write)
    else:
        array = _from_interface(cp, function, name, value, write)
    if any(place % SIZES[array.dtype] for place in (array.pointer, *(array.strides or ()))):
        raise ValueError(
            f"{function}: {name} has elements at addresses that are no multiples of its itemsize; pass a copy."
        )
    if array.strides is not None and not _has_runs(array):
        raise ValueError(
            f"{function}: {name} has strides {array.strides}: no two elements are adjacent; pass a contiguous copy."
        )
    return array


def _has_runs(a: DeviceArray) -> bool:
    strides = [stride for stride, n in zip(a.strides or (), a.shape, strict=True) if n != 1]
    return not strides or 0 in a.shape or SIZES[a.dtype] in strides


def _refuse_dtype(function: str, name: str, dtype: object) -> NoReturn:
    what_to_do = _dtypes.conversion(dtype, name) if isinstance(dtype, np.dtype) else ""
    raise TypeError(f"{function}: {name} is {dtype}; expected {_dtypes.ACCEPTED}.{what_to_do}")


def _code(function: str, name: str, dtype: np.dtype[Any]) -> int:
    if dtype.name not in DTYPES or not dtype.isnative:
        _refuse_dtype(function, name, dtype)
    return DTYPES.index(dtype.name)


def _from_cupy(function: str, name: str, a: Any) -> DeviceArray:
    strides = None if a.flags.c_contiguous else a.strides
    return DeviceArray(a.data.ptr, a.shape, strides, _code(function, name, a.dtype), a.device.id, None, a)


def _refuse_read_only(function: str, name: str) -> NoReturn:
    raise ValueError(f"{function}: {name} is read-only; pass a copy.")


def _from_interface(cp: Any, function: str, name: str, value: Any, write: bool) -> DeviceArray:
    """Read version 2 or 3 of the CUDA array interface."""
    try:
        interface = value.__cuda_array_interface__
        (pointer, read_only), shape = interface["data"], tuple(interface["shape"])
        dtype = np.dtype(interface["typestr"])
        strides, stream = interface.get("strides"), interface.get("stream")
        masked = interface.get("mask") is not None
    except Exception as error:  # whatever a producer raises
        raise TypeError(f"{function}: {name} ({show(value)}) can't be taken as a CUDA array: {error}") from error
    if masked:
        raise TypeError(f"{function}: {name} has a mask, which would be ignored; pass the array without it.")
    if write and read_only:
        _refuse_read_only(function, name)
    if stream == 0:
        raise ValueError(f"{function}: {name} names stream 0, which the CUDA array interface forbids as ambiguous.")
    code = _code(function, name, dtype)
    device = _device_of(cp, function, name, pointer)
    return DeviceArray(pointer, shape, strides and tuple(strides), code, device, stream, value)


def _device_of(cp: Any, function: str, name: str, pointer: int) -> int:
    """Ask CUDA to which device an address belongs: the interface does not say. 0-size arrays have none."""
    runtime = cp.cuda.runtime
    device = int(runtime.pointerGetAttributes(pointer).device) if pointer else int(runtime.getDevice())
    if device < 0:  # -2 for what is not CUDA's
        raise ValueError(f"{function}: {name} is at an address that CUDA does not know; its memory must be a GPU's.")
    return device


def _from_dlpack(cp: Any, function: str, name: str, value: Any, write: bool) -> DeviceArray:
    from fastclip import _dlpack

    try:
        # on its own device; DLPack's numbers: 1 for CUDA's default stream, whose handle is 0
        stream = cp.cuda.get_current_stream(int(value.__dlpack_device__()[1]))
        tensor = _dlpack.read(value, stream.ptr or 1)
    except MemoryError:
        raise
    except Exception as error:  # whatever a producer raises
        raise TypeError(f"{function}: {name} ({show(value)}) can't be taken as an array: {error}") from error
    if tensor.dtype not in DTYPES:
        _refuse_dtype(function, name, tensor.dtype)
    if write and tensor.read_only:
        _refuse_read_only(function, name)
    code = DTYPES.index(tensor.dtype)
    strides = tensor.strides and tuple(s * SIZES[code] for s in tensor.strides)
    return DeviceArray(tensor.pointer, tensor.shape, strides, code, tensor.device, None, tensor.owner)
