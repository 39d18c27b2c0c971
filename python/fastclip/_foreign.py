# SPDX-License-Identifier: BSD-3-Clause
"""Arrays that are not NumPy's: what lends its memory through the buffer protocol, DLPack or `__array__`.

Each becomes a NumPy array over the same memory, which keeps it alive and locked as long as it is used.
"""

from __future__ import annotations

import mmap
import sys
from typing import Any, NoReturn

import numpy as np

from fastclip._config import from_dlpack
from fastclip._errors import out_of_place, show
from fastclip._layout import Array

EXPECTED = "expected an array: NumPy's, or one with a buffer or DLPack"

_RAW = (bytes, bytearray, mmap.mmap)
_NO_ARRAY = (type, str, int, float, complex, np.generic)
_DEVICES = (1, 3, 11)  # DLPack's CPU, and pinned memory of CUDA and ROCm

# Their users, and their compilers, rely on it that a tensor does not change. Their memory could be written: both
# export it through DLPack without a mark.
_IMMUTABLE = {"jax", "jaxlib", "tensorflow"}


def is_array(value: object) -> bool:
    """Tell whether `value` lends its memory, or says that it is an array."""
    if isinstance(value, (np.ndarray, memoryview)):  # a released memoryview raises even where one asks for names
        return True
    if isinstance(value, _NO_ARRAY):
        return False
    if any(hasattr(value, name) for name in ("__array__", "__dlpack__", "shape")):
        return True
    try:
        memoryview(value)  # type: ignore[arg-type]
    except TypeError:
        return False
    except (BufferError, ValueError):
        return True  # it has a buffer, but not now
    return True


def as_array(function: str, name: str, value: Any, *, write: bool) -> tuple[Array, str]:
    """View the memory of a foreign array; also say why it is read-only, "" where nothing is known.

    In order: the buffer protocol, DLPack and, for reading only, `__array__`.
    """
    if write:
        _refuse_immutable(function, name, value)
    if isinstance(value, _RAW):
        raise TypeError(
            f"{function}: {name} is {show(value)}, bytes of no element type; "
            f'pass memoryview({name}).cast("f") or np.frombuffer({name}, np.float32).'
        )
    array, why = None, ""
    if not isinstance(value, _NO_ARRAY):
        array = _from_buffer(function, name, value)
        if array is None and hasattr(value, "__dlpack__"):
            array, why = _from_dlpack(function, name, value)
        if array is None and hasattr(value, "__array__"):
            array = _from_array(function, name, value, write)
    if array is None:
        raise TypeError(f"{function}: {name} is {show(value)}; {EXPECTED}.")
    return array, why


def _packages(value: object) -> set[str]:
    return {str(kind.__module__).partition(".")[0] for kind in type(value).__mro__}


def _refuse_immutable(function: str, name: str, value: object) -> None:
    package = min(_packages(value) & _IMMUTABLE, default=None)
    if package is not None:
        raise ValueError(
            f"{function}: {name} is of type {type(value).__name__} from {package}, whose arrays are immutable; "
            f"{_instead(function, name)}."
        )


def _instead(function: str, name: str) -> str:
    other = out_of_place(function)
    return f"use {other}, which returns new ones" if other else f"pass a copy, np.array({name})"


def _refuse(function: str, name: str, value: object, error: Exception) -> NoReturn:
    kind = type(value).__name__
    raise TypeError(f"{function}: {name}, of type {kind}, can't be taken as an array: {error}") from error


def _from_buffer(function: str, name: str, value: Any) -> Array | None:
    try:
        view = memoryview(value)
    except (TypeError, BufferError, ValueError):
        return None  # no buffer, or none for this dtype: TensorFlow's and JAX's bfloat16
    try:
        array = np.asarray(view)
        if array.itemsize != view.itemsize:
            raise ValueError(f"its elements have {view.itemsize} bytes, those of {array.dtype} {array.itemsize}")
    except (TypeError, ValueError, BufferError, Warning) as error:
        _refuse(function, name, value, error)
    return array


def _bfloat16() -> np.dtype[Any]:
    try:
        import ml_dtypes
    except ImportError:
        raise TypeError("is bfloat16, for which NumPy needs the package ml_dtypes: pip install ml_dtypes") from None
    bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return bfloat16


def _from_dlpack(function: str, name: str, value: Any) -> tuple[Array, str]:
    try:
        if "torch" in _packages(value) and value.is_neg():  # the memory holds the negatives, and DLPack is silent
            raise TypeError("its negation is still to be done; use tensor.resolve_neg()")
        device = int(value.__dlpack_device__()[0])
        if device not in _DEVICES:
            raise TypeError(f"it is on a device (DLPack's type {device}), not in the CPU's memory")
        if from_dlpack is None:  # NumPy checks less, and knows no bfloat16
            array = np.from_dlpack(value)
            return array, "" if array.flags.writeable else "NumPy took it from DLPack read-only"
        try:
            capsule = value.__dlpack__(max_version=(1, 0))
        except TypeError:  # older than DLPack 1
            capsule = value.__dlpack__()
    except MemoryError:
        raise
    except Exception as error:  # whatever a producer raises: PyTorch alone has five
        _refuse(function, name, value, error)
    try:
        return from_dlpack(capsule, _bfloat16)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{function}: {name} (of type {type(value).__name__}) {error}.") from None


def _from_array(function: str, name: str, value: Any, write: bool) -> Array:
    if write:
        raise TypeError(
            f"{function}: {name} is of type {type(value).__name__}, which gives copies of its memory; pass the NumPy "
            f"array below it, or {_instead(function, name)}."
        )
    try:
        # Not np.asarray: it would believe an __array_interface__, whose pointer nobody answers for.
        array = value.__array__()
    except MemoryError:
        raise
    except Exception as error:
        _refuse(function, name, value, error)
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{function}: {name}.__array__() gives {show(array)}; expected a NumPy array.")
    return array


def written(values: list[Any]) -> None:
    """Tell PyTorch which of its tensors are about to be written: autograd counts, and would not notice."""
    torch = sys.modules.get("torch")
    if torch is not None:
        tensors = [value for value in values if isinstance(value, torch.Tensor)]
        if tensors:
            torch.autograd.graph.increment_version(tensors)
