# SPDX-License-Identifier: BSD-3-Clause
"""Eager tensors for the native verbs, and when TensorFlow has to see every operation.

Each verb takes a list of eager tensors and None entries, and returns NotImplemented where TensorFlow has to do it:
tensors of another device or dtype, or without native code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import tensorflow as tf
from tensorflow.python import pywrap_tfe
from tensorflow.python.autograph.impl.api import autograph_artifact
from tensorflow.python.eager import context as _context
from tensorflow.python.framework import ops
from tensorflow.python.framework.composite_tensor import CompositeTensor

from fastclip._config import backend
from fastclip.tensorflow._c_functions import c_functions

EagerTensor = ops.EagerTensor
DTYPES = (tf.float16, tf.bfloat16, tf.float32, tf.float64)  # as csrc/core/dtype.hpp numbers them
CODES = {dtype: code for code, dtype in enumerate(DTYPES)}

CAPSULES = (
    EagerTensor,
    [dtype.as_datatype_enum for dtype in DTYPES],
    EagerTensor._datatype_enum,
    pywrap_tfe.TFE_ToDlpackCapsule,
    pywrap_tfe.TFE_FromDlpackCapsule,
)
ADDRESSES = c_functions()
NATIVE = backend.register_eager_type(*CAPSULES, ADDRESSES)
_Function = TypeVar("_Function", bound=Callable[..., Any])


eager = tf.executing_eagerly
no_tape = pywrap_tfe.TFE_Py_TapeSetIsEmpty  # nor a forward accumulator


def as_it_is(function: _Function) -> _Function:
    """Mark a function that autograph is to leave alone: TensorFlow's own decorator does so at the cost of a call."""
    autograph_artifact(function)
    return function


def executes(_: Any = None) -> bool:
    """Tell whether operations run at once and fastclip may do them."""
    return bool(NATIVE and eager())


def context() -> Any:
    """Return what new tensors are made in, when those that operations have still to make can be read.

    Capsules are made with the GIL, which such an operation may want.
    """
    current = _context.context()
    current.ensure_initialized()
    if not ADDRESSES and current.is_async():
        current.executor.wait()
    return current._handle


def watched(tensors: Sequence[Any]) -> bool:
    """Tell whether somebody differentiates through one of these."""
    if no_tape():
        return False
    read = (tf.convert_to_tensor(t) if isinstance(t, tf.Variable) else t for t in tensors)
    given = [tensor for tensor in read if isinstance(tensor, EagerTensor)]
    return bool(pywrap_tfe.TFE_Py_TapeSetPossibleGradientTypes(given))


def number(value: Any) -> float | None:
    """Read a limit: a number of Python's or NumPy's, or an eager tensor or a variable of no dimensions; else None."""
    kind = type(value)
    if kind is float:
        return value  # type: ignore[no-any-return]
    try:
        if kind is int or isinstance(value, (np.floating, np.integer)):
            return float(value)
        if isinstance(value, (EagerTensor, tf.Variable)) and value.dtype.is_floating and value.shape.rank == 0:
            return float(value.numpy())
    except OverflowError:
        pass
    return None


def dtype_of(value: Any) -> Any:
    """Return the dtype of a tensor or of a number of NumPy's."""
    return tf.as_dtype(value.dtype)


def takes(limit: Any, norm: Any) -> bool:
    """Tell whether TensorFlow would take a limit beside the norm: a tensor must be of its dtype."""
    return not isinstance(limit, (EagerTensor, tf.Variable)) or limit.dtype == dtype_of(norm)


def to_eager(value: Any) -> Any:
    """Make an eager tensor of a value as TensorFlow would; None if it can't, and may know what else to do with it."""
    try:
        tensor = tf.convert_to_tensor(value)
    except (TypeError, ValueError, tf.errors.OpError):  # its own call says so, or leaves it to a dispatcher
        return None
    return tensor if type(tensor) is EagerTensor else None


class Read(NamedTuple):
    """Entries of a list as eager tensors, None for None."""

    values: list[Any]
    counted: list[Any] | None  # whose norm counts, where it is not that of the values: rows that are listed twice


def read(entries: Sequence[Any]) -> Read | None:
    """Make eager tensors of the entries, as TensorFlow would; None if one's kind is TensorFlow's business."""
    values: list[Any] = []
    counted: list[Any] = []
    for entry in entries:
        sparse = isinstance(entry, tf.IndexedSlices)
        if isinstance(entry, CompositeTensor) and not (sparse or isinstance(entry, tf.Variable)):
            return None  # ragged, say
        value = None if entry is None else to_eager(entry.values if sparse else entry)
        if value is None and entry is not None:
            return None
        values.append(value)
        counted.append(summed(entry, value)[0] if sparse else value)
    differ = any(a is not b for a, b in zip(values, counted, strict=True))
    return Read(values, counted if differ else None)


def summed(slices: Any, values: Any) -> tuple[Any, Any]:
    """Add up the rows of slices that stand for one row of the gradient; return the sums and their indices."""
    indices = np.asarray(slices.indices)
    rows, places = np.unique(indices, return_inverse=True)
    if rows.size == indices.size or indices.shape != values.shape[:1]:  # of another shape it is TensorFlow's business
        return values, slices.indices
    return tf.math.unsorted_segment_sum(values, places, rows.size), tf.constant(rows)


def like(entry: Any, value: Any) -> Any:
    """Give a result the form of the entry: of slices, or a tensor."""
    if not isinstance(entry, tf.IndexedSlices):
        return value
    return entry if entry.values is value else tf.IndexedSlices(value, entry.indices, entry.dense_shape)


def from_array(array: Any, tensor: Any) -> Any:
    """Make a tensor over the memory of an array that nobody else has, where the other one is."""
    return EagerTensor(array, tensor.device, None)
