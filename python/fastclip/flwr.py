# SPDX-License-Identifier: BSD-3-Clause
"""The clipping of Flower's differential privacy (`flwr.supercore.differential_privacy`, as Flower 1.42 has it).

>>> import numpy as np, fastclip.flwr
>>> update = [np.array([3.0, 0.0], np.float32), np.array([4.0], np.float32)]
>>> fastclip.flwr.clip_inputs_inplace(update, 1.0)
>>> update
[array([0.6, 0. ], dtype=float32), array([0.8], dtype=float32)]
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np

from fastclip import _errors
from fastclip._config import backend, delegated
from fastclip._rules import GLOBAL_NORM

__all__ = [
    "adaptive_clip_inputs_inplace",
    "clip_inputs_inplace",
    "compute_adaptive_clip_model_update",
    "compute_clip_model_update",
    "get_norm",
]


def _home() -> Any:
    """Import the module that has the functions; Flower has moved it."""
    try:
        return importlib.import_module("flwr.supercore.differential_privacy")
    except ModuleNotFoundError:
        return importlib.import_module("flwr.common.differential_privacy")


# Flower's own, held from before anybody replaces them.
with _errors.importing("fastclip.flwr", "flwr"):
    _stock: dict[str, Any] = {name: getattr(_home(), name) for name in __all__}
# Of elements that are not finite Flower is asked: it leaves them as they are for NaN, makes 0 and NaN for infinity.
_rule = backend.rule(GLOBAL_NORM["raise"])
_ARRAYS = frozenset([np.ndarray])


def get_norm(input_arrays: list[Any]) -> float:
    """Compute the L2 norm of all elements of a list of arrays.

    Args:
        input_arrays: NumPy arrays. Those of float16, bfloat16, float32 and float64 are read by fastclip, whose norm is
            exact to the last bits; in Flower's own their squares overflow, underflow or lose digits.

    Returns:
        The norm; infinity or NaN where an element is.

    Source: Flower's function of that name.

    Example:
        >>> import numpy as np, fastclip.flwr
        >>> norm = fastclip.flwr.get_norm([np.array([3e20], np.float32), np.array([4e20], np.float32)])  # Flower: inf
        >>> round(norm / 1e20, 6)
        5.0
    """
    norm = backend.norm_list(input_arrays) if _is_list_of_arrays(input_arrays) else NotImplemented
    return _delegate("get_norm", input_arrays) if norm is NotImplemented else norm  # type: ignore[no-any-return]


def clip_inputs_inplace(input_arrays: list[Any], clipping_norm: float) -> None:
    """Multiply arrays in place by min(1, clipping_norm / norm), the norm being that of all their elements together.

    Within the limit nothing is written, and zeros stay zeros, where Flower's own divides by zero. An array that is
    listed twice is multiplied once, where Flower's own does it twice and leaves less than the limit allows. What
    `get_norm` does not read, elements that are not finite, and limits that are negative or no numbers are left to
    Flower.

    Args:
        input_arrays: NumPy arrays.
        clipping_norm: the limit.

    Source: Flower's function of that name; FlatClip of McMahan et al. (2018), arXiv:1710.06963.

    Example:
        >>> import numpy as np, fastclip.flwr
        >>> update = [np.array([3.0, 4.0])]
        >>> fastclip.flwr.clip_inputs_inplace(update, 2.5)
        >>> update
        [array([1.5, 2. ])]
    """
    if _clip(input_arrays, clipping_norm) is None:
        _delegate("clip_inputs_inplace", input_arrays, clipping_norm)


def adaptive_clip_inputs_inplace(input_arrays: list[Any], clipping_norm: float) -> bool:
    """Clip as `clip_inputs_inplace` does, and tell whether there was anything to clip.

    Args:
        input_arrays: as there.
        clipping_norm: as there.

    Returns:
        Whether the norm was above the limit: the bit of which adaptive clipping makes the next limit.

    Source: Flower's function of that name; Andrew et al. (2021), arXiv:1905.03871.

    Example:
        >>> import numpy as np, fastclip.flwr
        >>> fastclip.flwr.adaptive_clip_inputs_inplace([np.array([3.0, 4.0])], 2.5)
        True
    """
    norm = _clip(input_arrays, clipping_norm)
    if norm is None:
        return _delegate("adaptive_clip_inputs_inplace", input_arrays, clipping_norm)  # type: ignore[no-any-return]
    return norm > clipping_norm


def compute_clip_model_update(param1: list[Any], param2: list[Any], clipping_norm: float) -> None:
    """Clip the update param1 - param2 as `clip_inputs_inplace` does, and let `param1` be `param2` with what is left.

    Flower's own makes two new arrays of each, the difference and the result. Here an array to which nothing refers but
    the list is overwritten, as those are that Flower's strategies unpack from a message; for one that anybody else can
    see the list gets a new one. An update within the limit keeps its bits.

    Args:
        param1: the arrays of a client; the list is changed.
        param2: those of the server, of the same shapes and dtypes (Flower does the others).
        clipping_norm: the limit.

    Source: Flower's function of that name, given whose norm the results of float32 and float64 have its bits.

    Example:
        >>> import numpy as np, fastclip.flwr
        >>> client, server = [np.array([4.0, 5.0])], [np.array([1.0, 1.0])]
        >>> fastclip.flwr.compute_clip_model_update(client, server, 2.5)
        >>> client
        [array([2.5, 3. ])]
    """
    if _clip_update(param1, param2, clipping_norm) is None:
        _delegate("compute_clip_model_update", param1, param2, clipping_norm)


def compute_adaptive_clip_model_update(param1: list[Any], param2: list[Any], clipping_norm: float) -> bool:
    """Clip as `compute_clip_model_update` does, and tell whether there was anything to clip.

    Args:
        param1: as there.
        param2: as there.
        clipping_norm: as there.

    Returns:
        Whether the norm was above the limit.

    Source: Flower's function of that name.

    Example:
        >>> import numpy as np, fastclip.flwr
        >>> fastclip.flwr.compute_adaptive_clip_model_update([np.array([4.0, 5.0])], [np.array([1.0, 1.0])], 9.0)
        False
    """
    norm = _clip_update(param1, param2, clipping_norm)
    if norm is None:
        return _delegate("compute_adaptive_clip_model_update", param1, param2, clipping_norm)  # type: ignore[no-any-return]
    return norm > clipping_norm


def _delegate(name: str, *arguments: Any) -> Any:
    delegated["calls"] += 1
    return _stock[name](*arguments)


def _is_list_of_arrays(arrays: Any) -> bool:
    """Tell whether it holds nothing else: None and lists within it, which our verbs take, are errors in Flower."""
    return type(arrays) is list and _ARRAYS.issuperset(map(type, arrays))


def _is_limit(clipping_norm: Any) -> bool:
    return isinstance(clipping_norm, (int, float)) and clipping_norm >= 0


def _clip(arrays: Any, clipping_norm: Any) -> float | None:
    """Clip and return the norm before; None where Flower has to do it, and nothing has been touched."""
    if not _is_list_of_arrays(arrays) or not _is_limit(clipping_norm):
        return None
    norm = backend.clip_list(arrays, None, float(clipping_norm), None, _rule, False)
    return None if norm is NotImplemented else norm


def _clip_update(new: Any, old: Any, clipping_norm: Any) -> float | None:
    if type(new) is not list or type(old) is not list or len(new) != len(old) or not _is_limit(clipping_norm):
        return None
    mine = [new[i] if _references(new, i) in _ALONE else _copied(new[i]) for i in range(len(new))]
    norm = backend.clip_update_list(mine, old, float(clipping_norm), _rule, False)
    if norm is NotImplemented or norm is None:
        return None
    new[:] = mine
    return norm  # type: ignore[no-any-return]


def _copied(array: Any) -> Any:
    return array.copy(order="K") if type(array) is np.ndarray else array


def _references(arrays: list[Any], i: int) -> tuple[int, int]:
    """Count the references to an array, and to that of which it is a view: np.load returns views."""
    array = arrays[i]
    base = getattr(array, "base", None)
    if base is None:
        return sys.getrefcount(array), 0 if _owns(array) else -1
    return sys.getrefcount(array), sys.getrefcount(base) if _owns(base) else -1


def _owns(array: Any) -> bool:
    """Tell whether NumPy allocated the memory: of what C code has wrapped, nothing counts the references."""
    return type(array) is np.ndarray and array.flags.owndata


# What is counted where nothing but the list refers to the memory. Without the GIL a count tells nothing.
_ALONE = {_references([np.zeros(1)], 0), _references([np.zeros(1).reshape(1, 1)], 0)}
if not getattr(sys, "_is_gil_enabled", lambda: True)():
    _ALONE.clear()
