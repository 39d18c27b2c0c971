# SPDX-License-Identifier: BSD-3-Clause
"""One norm for a whole list."""

from __future__ import annotations

from typing import Any, NoReturn

from fastclip import _device, _errors
from fastclip._api.results import results
from fastclip._arrays import a_list, gather_anywhere, gather_list, rebuild
from fastclip._config import backend
from fastclip._rules import GLOBAL_NORM

_rules = {policy: backend.rule(record) for policy, record in GLOBAL_NORM.items()}


def clip_by_global_norm_(
    t_list: Any, clip_norm: float, use_norm: float | None = None, *, nonfinite: str = "propagate", out: Any = None
) -> Any:
    """Clip arrays in place so that the norm of all their elements together is at most `clip_norm`.

    Every element is multiplied by clip_norm / norm if the norm is above `clip_norm`; otherwise nothing is written.

    Args:
        t_list: an array, or a list, tuple, (nested) dict or iterable of writable float16, bfloat16, float32 and
            float64 arrays of any shape and strides: NumPy's, and all that lend their memory through the buffer
            protocol (array.array, memoryview, ctypes) or a versioned DLPack capsule (PyTorch on the CPU). None
            entries are skipped. Every entry counts in the norm; memory that is listed twice is scaled once. An
            iterator is used up.
        clip_norm: the limit, >= 0. Infinity clips nothing, 0 gives zeros.
        use_norm: the norm, if it is already known: saves reading the arrays. 0 means within the limit.
        nonfinite: what NaN or infinity among the elements leads to. "propagate": finite elements become 0 and
            infinite ones NaN; with a NaN, all become NaN. "nan": all become NaN. "raise": FloatingPointError.
            "skip": nothing is written. "zero": they become 0, and the norm is that of the others.
        out: a 0-d float64 array of CuPy's for the norm of arrays on a GPU, which is made anew otherwise.

    Arrays on a GPU are CuPy's, and those that have DLPack or `__cuda_array_interface__`, all on one device; their
    innermost elements must be adjacent. Nothing waits for the GPU, unless `nonfinite` is "raise".

    Returns:
        The norm before clipping, exact to the last bits for every finite input (on a GPU a 0-d float64 array there,
        within an ULP of float32); infinity if it is beyond f64.

    Raises:
        TypeError: an entry is no such array, or a number is none.
        ValueError: an array is read-only or immutable (JAX, TensorFlow), two arrays share memory in part, or
            `clip_norm` or `use_norm` is negative or NaN. Nothing has been written then.
        FloatingPointError: see `nonfinite`.

    The rule is that of Pascanu, Mikolov and Bengio (2013), "On the difficulty of training recurrent neural
    networks", and of TensorFlow's function of that name.

    Example:
        >>> import numpy as np, fastclip
        >>> gradients = {"w": np.array([[3.0], [0.0]]), "b": np.array([4.0])}
        >>> fastclip.clip_by_global_norm_(gradients, 10.0)  # within the limit
        5.0
        >>> fastclip.clip_by_global_norm_(gradients, 2.5)
        5.0
        >>> gradients["b"]
        array([2.])
    """
    limit = _errors.limit("clip_by_global_norm_", "clip_norm", clip_norm)
    if use_norm is not None:
        use_norm = _errors.limit("clip_by_global_norm_", "use_norm", use_norm)
    rule = _rules.get(nonfinite) if type(nonfinite) is str else None
    if rule is None:
        raise ValueError(f"clip_by_global_norm_: nonfinite is {nonfinite!r}; expected one of {', '.join(_rules)}.")
    norm = NotImplemented if out is not None else backend.clip_list(t_list, None, limit, use_norm, rule, False)
    if norm is NotImplemented:
        chosen, _, arrays = gather_anywhere("clip_by_global_norm_", "t_list", t_list, write=True)
        if chosen is not backend:
            norm_to = _device.norm_to("clip_by_global_norm_", out, arrays)
            norm = chosen.clip_list(arrays, None, limit, use_norm, GLOBAL_NORM[nonfinite], True, norm_to)
        elif out is not None:
            _refuse_out("clip_by_global_norm_", out)
        else:
            norm = backend.clip_list(arrays, None, limit, use_norm, rule, True)
    if norm is None:
        _errors.nonfinite("clip_by_global_norm_")
    return norm


def clip_by_global_norm(
    t_list: Any, clip_norm: float, use_norm: float | None = None, name: str | None = None
) -> tuple[Any, float]:
    """Clip arrays, into new ones, so that the norm of all their elements together is at most `clip_norm`.

    Args:
        t_list: a list, tuple, (nested) dict or iterable of arrays, as for `clip_by_global_norm_` but read-only ones
            too, and what has `__array__`; None entries are kept, and of IndexedSlices-like entries the `values` are
            clipped.
        clip_norm: the limit, >= 0. Infinity clips nothing, 0 gives zeros.
        use_norm: the norm, if it is already known. 0 means within the limit.
        name: ignored; TensorFlow has it.

    Returns:
        The clipped arrays in a list (a dict for a dict), and the norm before clipping. The arrays are NumPy's, of
        the entry's own class if that is a subclass. NaN or infinity among the elements makes every element NaN, as
        in TensorFlow.

    Raises:
        TypeError: an entry is no such array, or a number is none.
        ValueError: `clip_norm` or `use_norm` is negative or NaN.

    Source: TensorFlow's function; its finite norms that overflow (and then give NaN) are right here.

    Example:
        >>> import numpy as np, fastclip
        >>> fastclip.clip_by_global_norm([np.array([3.0]), None, np.array([4.0])], 2.5)
        ([array([1.5]), None, array([2.])], 5.0)
    """
    limit = _errors.limit("clip_by_global_norm", "clip_norm", clip_norm)
    if use_norm is not None:
        use_norm = _errors.limit("clip_by_global_norm", "use_norm", use_norm)
    t_list, arrays = gather_list("clip_by_global_norm", "t_list", t_list)
    read, out = results(arrays)
    norm = backend.clip_list(read, out, limit, use_norm, _rules["nan"], True)
    clipped = rebuild(t_list, iter(out))
    return (list(clipped) if isinstance(clipped, tuple) else clipped), norm


def global_norm(t_list: Any, name: str | None = None, *, out: Any = None) -> Any:
    """Compute the L2 norm of all elements of a list of arrays.

    Args:
        t_list: a list, tuple, (nested) dict or iterable of arrays, as for `clip_by_global_norm`; None entries are
            skipped.
        name: ignored; TensorFlow has it.
        out: a 0-d float64 array of CuPy's for the norm of arrays on a GPU, which is made anew otherwise.

    Returns:
        The norm, exact to the last bits for every finite input (a Python float, so that dividing a float32 array by
        it stays float32; for arrays on a GPU a 0-d float64 array there, within an ULP of float32); infinity if it is
        beyond f64 or an element is infinite, NaN if one is NaN, 0.0 for nothing.

    Raises:
        TypeError: an entry is no such array, or `out` none for the norm.

    Source: TensorFlow's function.

    Example:
        >>> import numpy as np, fastclip
        >>> fastclip.global_norm([np.array([3e200]), None, np.array([4e200])]) / 1e200
        5.0
    """
    plain = out is None and type(t_list) in (list, tuple, dict)
    norm = backend.norm_list(t_list) if plain else NotImplemented
    if norm is NotImplemented:
        chosen, _, arrays = gather_anywhere(
            "global_norm", "t_list", a_list("global_norm", "t_list", t_list), write=False
        )
        if chosen is not backend:
            return chosen.norm_list(arrays, _device.norm_to("global_norm", out, arrays))
        if out is not None:
            _refuse_out("global_norm", out)
        norm = backend.norm_list(arrays)
    return norm


def _refuse_out(function: str, out: Any) -> NoReturn:
    raise TypeError(
        f"{function}: out is {_errors.show(out)}, but the arrays are in the CPU's memory, where the norm is returned "
        "as a float; leave it out."
    )
