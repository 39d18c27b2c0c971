# SPDX-License-Identifier: BSD-3-Clause
"""Arrays and containers of arrays: where framework knowledge ends.

The native backend reads plain containers of plain arrays by itself. Everything else comes here: it is either made
plain or refused, with an error that says which entry and why. Nothing is written before all entries have passed.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from fastclip import _device, _dtypes, _foreign, _known, _overlap
from fastclip._config import backend, gpu
from fastclip._errors import out_of_place, show
from fastclip._layout import Array

_LEAVES = (np.ndarray, str, bytes, bytearray, int, float, complex, np.generic)
_MAX_DEPTH = 64
_IN_PLACE = ("clip_by_average_norm", "clip_by_global_norm", "clip_by_norm", "clip_by_value")  # and a `_`, for GPUs too


def is_slices(t: object) -> bool:
    """Tell whether `t` is sparse rows in TensorFlow's form: dense `values` for the rows `indices`."""
    return hasattr(t, "values") and hasattr(t, "indices") and not callable(t.values)


def with_values(slices: Any, values: Array) -> Any:
    """Copy an IndexedSlices-like object with other values."""
    if hasattr(slices, "_replace"):
        return slices._replace(values=values)
    if dataclasses.is_dataclass(slices):
        return dataclasses.replace(slices, values=values)  # type: ignore[type-var]
    if hasattr(slices, "dense_shape"):  # tf.IndexedSlices, whose values can't be set
        return type(slices)(values, slices.indices, slices.dense_shape)
    new = copy.copy(slices)
    new.values = values
    return new


def plain(function: str, name: str, value: Any, *, write: bool, every_real: bool = False) -> Array:
    """Turn one entry into a plain array over the same memory, or say why it can't be.

    `every_real` lets arrays of integers, of long doubles and of the other byte order pass: NumPy computes with them.
    """
    if is_slices(value):
        return plain(function, f"{name}.values", value.values, write=write, every_real=every_real)
    if isinstance(value, np.ndarray):
        array, why = value, ""
    else:
        try:
            array, why = _foreign.as_array(function, name, value, write=write)
        except TypeError:
            if not _device.is_on_gpu(value):
                raise
            other = f"use {function}_, which clips in place" if function in _IN_PLACE else "expected one of the CPU"
            raise TypeError(f"{function}: {name}, of type {type(value).__name__}, is on a GPU; {other}.") from None
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{function}: {name} is a masked array; pass {name}.data, or {name}.filled(0).")
    if not (_dtypes.supported(array.dtype) or (every_real and _dtypes.is_real(array.dtype))):
        what_to_do = _dtypes.conversion(array.dtype, name if array is value else f"np.asarray({name})")
        raise TypeError(f"{function}: {name} is {array.dtype}; expected {_dtypes.ACCEPTED}.{what_to_do}")
    if write and not array.flags.writeable:
        instead = ", or clip out of place" if out_of_place(function) else ""
        raise ValueError(f"{function}: {name} is read-only{why and f' ({why})'}; pass a copy{instead}.")
    return array.view(np.ndarray)


def is_leaf(tree: object) -> bool:
    """Tell whether `tree` is an entry (an array, None, or what can't be one) and not a container."""
    return isinstance(tree, _LEAVES) or not isinstance(tree, Iterable) or is_slices(tree) or _foreign.is_array(tree)


def leaves(function: str, name: str, tree: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Walk a container in order: each entry but None, with its name."""
    if tree is None:
        return
    if depth > _MAX_DEPTH:
        raise ValueError(f"{function}: {name[:40]}... is nested more than {_MAX_DEPTH} deep; does it hold itself?")
    if isinstance(tree, Mapping):
        for key, entry in tree.items():
            yield from leaves(function, f"{name}[{key!r}]", entry, depth + 1)
    elif is_slices(tree):
        yield f"{name}.values", tree.values
    elif is_leaf(tree):
        yield name, tree
    else:
        for i, entry in enumerate(tree):
            yield from leaves(function, f"{name}[{i}]", entry, depth + 1)


def gather(function: str, argument: str, tree: Any, *, write: bool) -> list[Array]:
    """Collect the arrays of a container; for writing, make sure that no element is in two of them."""
    return gather_entries(function, list(leaves(function, argument, tree)), write=write)


def gather_entries(
    function: str, entries: list[tuple[str, Any]], *, write: bool, every_real: bool = False
) -> list[Array]:
    """Make plain arrays of named entries; for writing, make sure that no element is in two of them."""
    arrays = [plain(function, name, leaf, write=write, every_real=every_real) for name, leaf in entries]
    if write:
        _overlap.check(function, [name for name, _ in entries], arrays)
        _foreign.written([leaf for _, leaf in entries])
    return arrays


def gather_anywhere(
    function: str, argument: str, tree: Any, *, write: bool, every_real: bool = False, shaped: bool = False
) -> tuple[Any, list[str], list[Any]]:
    """Collect the arrays of a container, all on the CPU or all on one GPU: the backend for them, their names, they.

    `shaped`: their shapes matter, and not their sizes alone.
    """
    arrays: Any = _known.find(tree, backend.identities, write=write, shaped=shaped)
    if arrays is not None:
        return gpu(), [], arrays
    entries = list(leaves(function, argument, tree))
    names = [name for name, _ in entries]
    if not any(_device.is_on_gpu(leaf) for _, leaf in entries):
        return backend, names, gather_entries(function, entries, write=write, every_real=every_real)
    on_gpu = _device.gather(function, entries, write=write)
    if not shaped:
        gpu().check_list(function, names, on_gpu)
    arrays = _known.remember(tree, on_gpu, write=write)
    if write:
        _foreign.written([leaf for _, leaf in entries])
    return gpu(), names, arrays


def gather_list(function: str, argument: str, t_list: Any) -> tuple[Any, list[Array]]:
    """Collect the arrays of a list for reading. Returns the list too, since an iterator can be read only once."""
    t_list = settle(function, argument, a_list(function, argument, t_list))
    return t_list, gather(function, argument, t_list, write=False)


def a_list(function: str, argument: str, t_list: Any) -> Any:
    """Return a list of arrays, or say that it is none."""
    if t_list is None or is_leaf(t_list):
        raise TypeError(
            f"{function}: {argument} is {show(t_list)}; expected a list of arrays. Write [{argument}] for one array."
        )
    return t_list


def settle(function: str, name: str, tree: Any, depth: int = 0) -> Any:
    """Make lists of iterators, which can be read only once, and of other iterables."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"{function}: {name} is nested more than {_MAX_DEPTH} deep; does it hold itself?")
    if isinstance(tree, Mapping):
        return {key: settle(function, name, entry, depth + 1) for key, entry in tree.items()}
    if is_leaf(tree):
        return tree
    entries = [settle(function, name, entry, depth + 1) for entry in tree]
    if isinstance(tree, tuple):
        return type(tree)(*entries) if hasattr(tree, "_fields") else tuple(entries)
    return entries


def rebuild(tree: Any, arrays: Iterator[Array]) -> Any:
    """Put new arrays in the place of the old ones; containers are new, too."""
    if type(tree) is np.ndarray:
        return next(arrays)
    if tree is None:
        return None
    if isinstance(tree, Mapping):
        return {key: rebuild(entry, arrays) for key, entry in tree.items()}
    if is_leaf(tree):
        return like(tree, next(arrays))
    entries = [rebuild(entry, arrays) for entry in tree]
    if isinstance(tree, tuple):
        return type(tree)(*entries) if hasattr(tree, "_fields") else tuple(entries)
    return entries


def _holds_arrays(t: Iterable[Any]) -> bool:
    return any(map(_foreign.is_array, {type(entry): entry for entry in t}.values()))  # one of a type will do


def one_array(function: str, argument: str, t: Any, list_function: str, *, every_real: bool = False) -> Array:
    """Read one array, or what `np.asarray` takes."""
    if t is None or isinstance(t, (str, bytes)) or is_slices(t) or _foreign.is_array(t):
        return plain(function, argument, t, write=False, every_real=every_real)
    if isinstance(t, (list, tuple)) and _holds_arrays(t):
        raise TypeError(f"{function}: {argument} is a list of arrays; expected one. Use {list_function} for a list.")
    try:
        array = np.asarray(t)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{function}: {argument} is {show(t)}; expected an array: {error}") from None
    if array.dtype == object:
        raise TypeError(f"{function}: {argument} is {show(t)}; expected an array. Use {list_function} for a list.")
    return plain(function, argument, array, write=False, every_real=every_real)


def like(t: Any, out: Array) -> Any:
    """Give a result the form of the argument: of IndexedSlices, of a subclass of NumPy's array, or a NumPy array."""
    if is_slices(t):
        return with_values(t, like(t.values, out))
    return t.__array_wrap__(out) if isinstance(t, np.ndarray) and type(t) is not np.ndarray else out
