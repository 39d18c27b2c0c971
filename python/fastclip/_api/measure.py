# SPDX-License-Identifier: BSD-3-Clause
"""What one read of a list tells."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from fastclip._arrays import gather, gather_anywhere
from fastclip._config import backend


@dataclasses.dataclass(frozen=True)
class Measurement:
    """The statistics of a list of arrays. Tuples have one entry for each array, None entries left out."""

    norm: float
    """The L2 norm of all elements: NaN if any is NaN, else infinity if any is infinite."""
    norms: tuple[float, ...]
    """The L2 norm of each array."""
    sum_abs: float
    """The sum of all magnitudes, the L1 norm."""
    max_abs: float
    """The largest magnitude; NaN if any element is NaN, 0.0 if there is none."""
    nonfinite: int
    """How many elements are NaN or infinite."""
    zeros: int
    """How many elements are 0 (of either sign)."""
    nonfinite_counts: tuple[int, ...]
    """How many elements of each array are NaN or infinite."""
    zero_counts: tuple[int, ...]
    """How many elements of each array are 0."""
    first_nonfinite: tuple[int, tuple[int, ...]] | None
    """Where the first NaN or infinity is: the array's position in the tuples above, and the index in the array."""


def measure(t_list: Any) -> Measurement:
    """Measure an array or a list of arrays in one read. For arrays on a GPU, it waits for the result.

    Args:
        t_list: an array, or a list, tuple, (nested) dict or iterable of arrays, as for `clip_by_global_norm`; None
            entries are skipped. An iterator is used up.

    Returns:
        A `Measurement`. Norms are exact to the last bits for every finite input: nothing overflows or underflows on
        the way. NaN and infinity are counted and located, and go into the norms as arithmetic has it.

    Raises:
        TypeError: an entry is no such array.

    Example:
        >>> import numpy as np, fastclip
        >>> m = fastclip.measure([np.array([3.0, 0.0]), None, np.array([4.0, np.inf])])
        >>> m.norms, m.zeros, m.nonfinite, m.first_nonfinite
        ((3.0, inf), 1, 1, (1, (1,)))
    """
    chosen: Any = backend
    arrays: Any = t_list
    result = backend.measure_list(t_list) if type(t_list) in (list, tuple, dict) else NotImplemented
    if result is NotImplemented:
        chosen, _, arrays = gather_anywhere("measure", "t_list", t_list, write=False)
        result = chosen.measure_list(arrays)
    norm, sum_abs, max_abs, each = result
    norms, _, _, nonfinite, zeros = zip(*each, strict=True) if each else ((), (), (), (), ())
    first = next((i for i, count in enumerate(nonfinite) if count), None)
    place = None
    if first is not None:
        array = (
            chosen.fetch(arrays[first])
            if chosen is not backend
            else gather("measure", "t_list", arrays, write=False)[first]
        )
        place = (first, tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0]))
    return Measurement(
        norm=norm,
        norms=norms,
        sum_abs=sum_abs,
        max_abs=max_abs,
        nonfinite=sum(nonfinite),
        zeros=sum(zeros),
        nonfinite_counts=nonfinite,
        zero_counts=zeros,
        first_nonfinite=place,
    )
