# SPDX-License-Identifier: BSD-3-Clause
"""Lists of CuPy's arrays that have passed every check, to be recognised at the next call.

An array of CuPy's keeps its memory, dtype and size as long as it lives, so the same objects are the same list: 4 ns
each. Others over the same memory are recognised by how they look: 0.2 us. What has rows has them by its shape, which
may be set.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from typing import Any

from fastclip._device import DeviceArray

_Look = tuple[list[Any], list[Any], list[Any]]


class Known(list[DeviceArray]):
    """Arrays that have passed.

    They are not kept alive: whoever calls holds the list that they are from until the kernels are launched.
    """

    def __init__(self, arrays: list[DeviceArray], look: _Look) -> None:
        super().__init__(a._replace(owner=None) for a in arrays)
        self.look = look
        self.plans: dict[Any, Any] = {}  # the backend's
        self.objects: Any = None  # the key of those that came last


_RECENT = 16
_alike: dict[tuple[int, int, bool], Known] = {}
_same: dict[Any, tuple[Known, list[Any]]] = {}  # with weak references, which take an entry away


def _looks(tree: list[Any]) -> _Look | None:
    """Read what tells one list from another; None where more must be asked."""
    cp = sys.modules.get("cupy")
    if cp is None or set(map(type, tree)) != {cp.ndarray}:
        return None
    try:
        if not all([a._c_contiguous for a in tree]):  # `flags` makes an object, which takes five times as long
            return None
    except AttributeError:
        return None
    return [a.data.ptr for a in tree], [a.shape for a in tree], [a.dtype for a in tree]


def find(tree: Any, identities: Callable[[list[Any]], Any], *, write: bool, shaped: bool = False) -> Known | None:
    """Find a list that has passed all checks; `identities` tells its objects from others.

    `shaped` asks the same objects for their shapes, too.
    """
    if not _alike or type(tree) is not list:
        return None
    key = write, identities(tree)
    same = _same.get(key)
    if same is not None and not (shaped and same[0].look[1] != [a.shape for a in tree]):
        return same[0]
    look = _looks(tree)
    known = _alike.get((look[0][0], len(tree), write)) if look else None
    if known is None or known.look != look:
        return None
    if known.objects == key:  # they come again: worth a weak reference each, 0.1 us
        if len(_same) >= _RECENT:
            _same.clear()
        _same[key] = known, [weakref.ref(a, lambda _: _same.pop(key, None)) for a in tree]
    known.objects = key
    return known


def remember(tree: Any, arrays: list[DeviceArray], *, write: bool) -> list[DeviceArray]:
    """Keep what has passed all checks, if it can be recognised."""
    look = _looks(tree) if type(tree) is list else None
    if look is None:
        return arrays
    if len(_alike) >= _RECENT:
        _alike.clear()
    known = _alike[look[0][0], len(tree), write] = Known(arrays, look)
    return known
