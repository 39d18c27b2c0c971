# SPDX-License-Identifier: BSD-3-Clause
"""One norm for what a whole list has changed by."""

from __future__ import annotations

from typing import Any, NoReturn

from fastclip import _errors, _overlap
from fastclip._arrays import gather_entries, leaves
from fastclip._config import backend
from fastclip._layout import Array, memory_key
from fastclip._rules import GLOBAL_NORM

_FUNCTION = "clip_update_by_global_norm_"

_rules = {policy: backend.rule(record) for policy, record in GLOBAL_NORM.items()}


def clip_update_by_global_norm_(new: Any, old: Any, clip_norm: float, *, nonfinite: str = "propagate") -> float:
    """Clip an update in place: bring `new` nearer to `old` so that the norm of their difference is at most `clip_norm`.

    Every entry of `new` becomes old + (new - old) * (clip_norm / norm) if the norm of all differences together is above
    `clip_norm`; otherwise nothing is written. The differences are stored nowhere.

    Args:
        new: what the arrays have become, as for `clip_by_global_norm_`: a list, tuple, (nested) dict or iterable of
            writable float16, bfloat16, float32 and float64 arrays, which are overwritten. None entries are skipped.
        old: what they were: arrays of the same shapes and dtypes under the same indices or keys; they may be read-only.
            None of them shares memory with one of `new`, unless it is the very same and its own counterpart.
        clip_norm: the limit, >= 0. Infinity clips nothing, 0 gives `old`.
        nonfinite: what NaN or infinity among the differences leads to. "propagate": finite differences become 0 and
            infinite ones NaN; with a NaN, all entries become NaN. "nan": all become NaN. "raise": FloatingPointError.
            "skip": nothing is written. "zero": entries of `new` that are not finite become those of `old`, and the norm
            is that of the others; where `old` is not finite either, it is "propagate".

    Returns:
        The norm of the differences before clipping; infinity if it is beyond f64. Differences are formed in f64: the
        norm is the exact one's to the last bits of f32, for float64 to 3 * 2^-53 of it. What is left of a difference is
        rounded with the entry that it is added to, an error of half a last place of that, which no norm can be held to.

    Raises:
        TypeError: an entry is no such array, or a number is none.
        ValueError: the two do not have the same entries, shapes and dtypes, an array of `new` is read-only or immutable
            (JAX, TensorFlow), memory is shared, or `clip_norm` is negative or NaN. Nothing has been written then.
        FloatingPointError: see `nonfinite`.

    The rule is FlatClip of McMahan, Ramage, Talwar and Zhang (2018), "Learning differentially private recurrent
    language models"; Flower calls it `compute_clip_model_update`.

    Example:
        >>> import numpy as np, fastclip
        >>> server = [np.array([1.0, 1.0]), np.array([1.0])]
        >>> client = [np.array([4.0, 1.0]), np.array([5.0])]
        >>> fastclip.clip_update_by_global_norm_(client, server, 2.5)
        5.0
        >>> client
        [array([2.5, 1. ]), array([3.])]
    """
    limit = _errors.limit(_FUNCTION, "clip_norm", clip_norm)
    rule = _rules.get(nonfinite) if type(nonfinite) is str else None
    if rule is None:
        raise ValueError(f"{_FUNCTION}: nonfinite is {nonfinite!r}; expected one of {', '.join(_rules)}.")
    norm = backend.clip_update_list(new, old, limit, rule, False)
    if norm is NotImplemented:
        norm = backend.clip_update_list(*_pair(new, old), limit, rule, True)
    if norm is None:
        _errors.nonfinite(_FUNCTION)
    return norm  # type: ignore[no-any-return]


def _refuse(message: str) -> NoReturn:
    raise ValueError(f"{_FUNCTION}: {message}")


def _pair(new: Any, old: Any) -> tuple[list[Array], list[Array]]:
    """Gather both, each array beside its counterpart, and refuse what can't be combined."""
    new_entries, old_entries = list(leaves(_FUNCTION, "new", new)), list(leaves(_FUNCTION, "old", old))
    now = gather_entries(_FUNCTION, new_entries, write=True)
    was = gather_entries(_FUNCTION, old_entries, write=False)
    names = [name for name, _ in new_entries]
    places = [name[3:] for name in names]
    before = {name[3:]: array for (name, _), array in zip(old_entries, was, strict=True)}
    for place in [*places, *before]:
        if (place in before) != (place in places):
            have, lack = ("old", "new") if place in before else ("new", "old")
            _refuse(f"{have} has an array at {have}{place} and {lack} has none there; pass the same entries in both.")
    paired = [before[place] for place in places]
    written: dict[Any, tuple[str, Array]] = {}
    for place, a, b in zip(places, now, paired, strict=True):
        for what, x, y in (("shape", a.shape, b.shape), ("dtype", a.dtype, b.dtype)):
            if x != y:
                _refuse(f"new{place} has {what} {x} and old{place} {y}; expected the same.")
        first, other = written.setdefault(memory_key(a), (place, b))
        if memory_key(other) != memory_key(b):
            _refuse(
                f"new{first} and new{place} are the same memory, but old{first} and old{place} are not. Pass copies."
            )
    _overlap.check_apart(_FUNCTION, names, now, [f"old{place}" for place in places], paired)
    return now, paired
