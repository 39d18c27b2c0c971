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

from fastclip import _dtypes, _overlap
from fastclip._errors import show
from fastclip._layout import Array

_LEAVES = (np.ndarray, str, bytes, bytearray, int, float, complex, np.generic)
_MAX_DEPTH = 64


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


def plain(function: str, name: str, value: Any, *, write: bool) -> Array:
    """Turn one entry into a plain array over the same memory, or say why it can't be."""
    if is_slices(value):
        return plain(function, f"{name}.values", value.values, write=write)
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{function}: {name} is a masked array; pass {name}.data, or {name}.filled(0).")
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{function}: {name} is {show(value)}; expected a NumPy array.")
    if not _dtypes.supported(value.dtype):
        raise TypeError(f"{function}: {name} is {value.dtype}; expected {_dtypes.ACCEPTED}.")
    if write and not value.flags.writeable:
        raise ValueError(f"{function}: {name} is read-only; pass a copy, or clip out of place.")
    return value.view(np.ndarray)


def is_leaf(tree: object) -> bool:
    """Tell whether `tree` is an entry (an array, None, or what can't be one) and not a container."""
    return isinstance(tree, _LEAVES) or not isinstance(tree, Iterable) or is_slices(tree) or _is_foreign(tree)


def _is_foreign(tree: object) -> bool:
    if any(hasattr(tree, name) for name in ("__array__", "__dlpack__", "shape")):
        return True
    try:
        memoryview(tree)  # type: ignore[arg-type]
    except TypeError:
        return False
    return True


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
    names: list[str] = []
    arrays: list[Array] = []
    for name, leaf in leaves(function, argument, tree):
        arrays.append(plain(function, name, leaf, write=write))
        names.append(name)
    if write:
        _overlap.check(function, names, arrays)
    return arrays


def gather_list(function: str, argument: str, t_list: Any) -> tuple[Any, list[Array]]:
    """Collect the arrays of a list for reading. Returns the list too, since an iterator can be read only once."""
    if t_list is None or is_leaf(t_list):
        raise TypeError(
            f"{function}: {argument} is {show(t_list)}; expected a list of arrays. Write [{argument}] for one array."
        )
    t_list = settle(function, argument, t_list)
    return t_list, gather(function, argument, t_list, write=False)


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
    if tree is None:
        return None
    if isinstance(tree, Mapping):
        return {key: rebuild(entry, arrays) for key, entry in tree.items()}
    if isinstance(tree, np.ndarray):
        return next(arrays)
    if is_slices(tree):
        return with_values(tree, next(arrays))
    entries = [rebuild(entry, arrays) for entry in tree]
    if isinstance(tree, tuple):
        return type(tree)(*entries) if hasattr(tree, "_fields") else tuple(entries)
    return entries


def one_array(function: str, argument: str, t: Any, list_function: str) -> Array:
    """Read one array, or what `np.asarray` takes."""
    if isinstance(t, (np.ndarray, str, bytes)) or is_slices(t) or t is None:
        return plain(function, argument, t, write=False)
    if isinstance(t, (list, tuple)) and any(isinstance(entry, np.ndarray) for entry in t):
        raise TypeError(f"{function}: {argument} is a list of arrays; expected one. Use {list_function} for a list.")
    try:
        array = np.asarray(t)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{function}: {argument} is {show(t)}; expected an array: {error}") from None
    if array.dtype == object:
        raise TypeError(f"{function}: {argument} is {show(t)}; expected an array. Use {list_function} for a list.")
    return plain(function, argument, array, write=False)


def like(t: Any, out: Array) -> Any:
    """Give a result the form of the argument: IndexedSlices-like, or an array."""
    return with_values(t, out) if is_slices(t) else out
