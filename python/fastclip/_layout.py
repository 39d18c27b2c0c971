# SPDX-License-Identifier: BSD-3-Clause
"""How the elements of an array lie in memory."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]


def is_dense(a: Array) -> bool:
    """Tell whether the elements fill one block of memory, in whatever order of axes."""
    if a.flags.c_contiguous or a.flags.f_contiguous:
        return bool(a.flags.aligned)
    size = a.itemsize
    for stride, extent in sorted(zip(a.strides, a.shape, strict=True)):
        if extent != 1:
            if stride != size:
                return False
            size *= extent
    return bool(a.flags.aligned)


def memory_axes(a: Array) -> list[int]:
    """List the axes by falling stride: the order in which an array's elements are summed."""
    return sorted(range(a.ndim), key=lambda axis: -abs(a.strides[axis]))


def memory_order(a: Array) -> Array:
    """View an array with its axes in that order."""
    return a.transpose(memory_axes(a))


def memory_key(a: Array) -> tuple[Any, ...]:
    """Name the memory of an array: two with the same name hold the same elements, summed in the same order."""
    if is_dense(a):
        return (a.ctypes.data, a.size, a.dtype)
    axes = zip(a.strides, a.shape, strict=True)
    return (a.ctypes.data, a.dtype, *sorted((stride, n) for stride, n in axes if n != 1))


def once(arrays: list[Array]) -> list[Array]:
    """Leave out arrays whose memory stands earlier in the list."""
    return list({memory_key(a): a for a in reversed(arrays)}.values())[::-1]
