# SPDX-License-Identifier: BSD-3-Clause
"""A norm for each array, or for each row of it."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from fastclip import _device, _errors
from fastclip._api.results import results
from fastclip._arrays import gather_anywhere, like, one_array
from fastclip._config import backend
from fastclip._layout import Array, once
from fastclip._rules import AVERAGE_NORM, TENSOR_NORM, Rule

_tensor = {place: backend.rule(record) for place, record in TENSOR_NORM.items()}
_average = {place: backend.rule(record) for place, record in AVERAGE_NORM.items()}


def clip_by_norm_(t: Any, clip_norm: float, axes: Any = None) -> None:
    """Clip each array in place so that its own norm is at most `clip_norm`.

    Args:
        t: an array, or a list, tuple, (nested) dict or iterable of writable arrays, as for `clip_by_global_norm_`;
            None entries are skipped, memory that is listed twice is clipped once.
        clip_norm: the limit, >= 0. Infinity clips nothing, 0 gives zeros.
        axes: the axis or axes over which a norm is taken, of each array; None: all. With axes=1 each row of a matrix
            is clipped by its own norm.

    NaN or infinity: finite elements of that array (or row) become 0 and infinite ones NaN; with a NaN, all do.

    Raises:
        TypeError: an entry is no such array, or a number is none.
        ValueError: an array is read-only or immutable, two arrays share memory in part, `clip_norm` is negative or
            NaN, or an axis is out of range or repeated. Nothing has been written then.

    Source: TensorFlow's `clip_by_norm`, in place.

    Example:
        >>> import numpy as np, fastclip
        >>> batch = np.array([[3.0, 4.0], [0.3, 0.4]])
        >>> fastclip.clip_by_norm_(batch, 2.5, axes=1)
        >>> batch
        array([[1.5, 2. ],
               [0.3, 0.4]])
    """
    limit = _errors.limit("clip_by_norm_", "clip_norm", clip_norm)
    if axes is None:
        _each_in_place("clip_by_norm_", t, limit, TENSOR_NORM, _tensor)
        return
    chosen, names, arrays = gather_anywhere("clip_by_norm_", "t", t, write=True, shaped=True)
    masks = {id(a): _axes_mask("clip_by_norm_", axes, len(a.shape)) for a in arrays}
    if chosen is not backend:
        names = names or [f"t[{i}]" for i in range(len(arrays))]  # none of a list that has come before
        chosen.check_rows("clip_by_norm_", [(name, a, masks[id(a)]) for name, a in zip(names, arrays, strict=True)])
    rule = _tensor["in place"] if chosen is backend else TENSOR_NORM["in place"]
    for a in once(arrays) if chosen is backend else _device.once(arrays):
        chosen.clip_rows(a, None, masks[id(a)], limit, rule)


def clip_by_norm(t: Any, clip_norm: float, axes: Any = None, name: str | None = None) -> Any:
    """Clip an array, into a new one, so that its norm is at most `clip_norm`.

    Args:
        t: a float16, bfloat16, float32 or float64 array of any kind (NumPy's, a buffer, DLPack, `__array__`), or a
            list of numbers; of an IndexedSlices-like object the `values`.
        clip_norm: the limit, >= 0. Infinity clips nothing, 0 gives zeros.
        axes: the axis or axes over which the norm is taken; None: all. [] takes each element by itself.
        name: ignored; TensorFlow has it.

    Returns:
        A new NumPy array of the same shape and dtype (subclasses, IndexedSlices-like: the same kind). NaN or infinity
        among the elements makes all of them (with `axes`, those of the same row) NaN.

    Raises:
        TypeError: `t` is no such array; for a list of arrays see `clip_by_norm_`.
        ValueError: `clip_norm` is negative or NaN, or an axis is out of range or repeated.

    Source: TensorFlow's function.

    Example:
        >>> import fastclip
        >>> fastclip.clip_by_norm([3.0, 4.0], 2.5)
        array([1.5, 2. ])
    """
    limit = _errors.limit("clip_by_norm", "clip_norm", clip_norm)
    array = one_array("clip_by_norm", "t", t, "clip_by_norm_ (in place)")
    if axes is None:
        return like(t, _each(array, limit, _tensor["out of place"]))
    mask = _axes_mask("clip_by_norm", axes, array.ndim)
    (read,), (out,) = results([array])
    backend.clip_rows(read, None if read is out else out, mask, limit, _tensor["out of place"])
    return like(t, out)


def clip_by_average_norm_(t: Any, clip_norm: float) -> None:
    """Clip each array in place so that its norm divided by its number of elements is at most `clip_norm`.

    Args:
        t: as for `clip_by_norm_`.
        clip_norm: the limit, >= 0. Infinity clips nothing, 0 gives zeros.

    NaN and infinity, errors: as for `clip_by_norm_`. Source: TensorFlow 1's `clip_by_average_norm`, in place.

    Example:
        >>> import numpy as np, fastclip
        >>> gradient = np.array([30.0, 40.0])  # norm 50, average 25
        >>> fastclip.clip_by_average_norm_(gradient, 2.5)
        >>> gradient
        array([3., 4.])
    """
    limit = _errors.limit("clip_by_average_norm_", "clip_norm", clip_norm)
    _each_in_place("clip_by_average_norm_", t, limit, AVERAGE_NORM, _average)


def clip_by_average_norm(t: Any, clip_norm: float, name: str | None = None) -> Any:
    """Clip an array, into a new one, so that its norm divided by its number of elements is at most `clip_norm`.

    Args:
        t: as for `clip_by_norm`.
        clip_norm: the limit, >= 0. Infinity clips nothing, 0 gives zeros.
        name: ignored; TensorFlow has it.

    Returns, raises: as for `clip_by_norm`. Source: TensorFlow 1's function.

    Example:
        >>> import fastclip
        >>> fastclip.clip_by_average_norm([30.0, 40.0], 2.5)
        array([3., 4.])
    """
    limit = _errors.limit("clip_by_average_norm", "clip_norm", clip_norm)
    array = one_array("clip_by_average_norm", "t", t, "clip_by_average_norm_ (in place)")
    return like(t, _each(array, limit, _average["out of place"]))


def _each(array: Array, limit: float, rule: Any) -> Array:
    read, out = results([array])
    backend.clip_each(read, out, limit, rule, True)
    return out[0]


def _each_in_place(function: str, t: Any, limit: float, records: dict[str, Rule], compiled: dict[str, Any]) -> None:
    if backend.clip_each(t, None, limit, compiled["in place"], False) is NotImplemented:
        chosen, _, arrays = gather_anywhere(function, "t", t, write=True)
        rule = compiled["in place"] if chosen is backend else records["in place"]
        chosen.clip_each(arrays, None, limit, rule, True)


def _axes_mask(function: str, axes: Any, ndim: int) -> int:
    mask = 0
    if isinstance(axes, np.ndarray):
        axes = axes.tolist()
    for axis in axes if isinstance(axes, (list, tuple)) else [axes]:
        try:
            index = operator.index(axis)
        except TypeError:
            raise TypeError(f"{function}: axes is {_errors.show(axes)}; expected integers or None.") from None
        if not -ndim <= index < ndim:
            raise ValueError(f"{function}: axes has {index}, but the array has {ndim} dimensions.")
        if mask >> index % ndim & 1:
            raise ValueError(f"{function}: axes names axis {index % ndim} twice.")
        mask |= 1 << index % ndim
    return mask
