# SPDX-License-Identifier: BSD-3-Clause
"""How numbers and names are written, wherever they appear."""

from __future__ import annotations

import math
from collections.abc import Iterable

from fastclip._bench.intervals import Interval

# In the order in which they are listed; who is not here keeps the name and comes last.
LABELS = {
    "limit": "limit",
    "streams": "limit, streams",
    "fastclip": "fastclip",
    "numpy": "NumPy",
    "torch": "PyTorch",
    "tensorflow": "TensorFlow",
    "jax": "JAX",
    "optax": "Optax",
}

OPERATIONS = {
    "within": "norm, within limit",
    "clip": "norm, clipping",
    "value": "by value",
    "clip_out": "clip(a, lo, hi, out=a)",
    "clip_new": "norm, into new arrays",
    "rows": "each row by its norm",
    "positional": "clip(a, lo, hi)",
    "keywords": "clip(a, a_min=lo, a_max=hi)",
}

_BINARY = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def label(name: str) -> str:
    """Return what a peer calls itself."""
    return LABELS.get(name, name)


def in_order(names: Iterable[str]) -> list[str]:
    """Sort peers as they are listed everywhere."""
    known = list(LABELS)
    return sorted(set(names), key=lambda name: (known.index(name) if name in LABELS else len(known), name))


def operation(name: str) -> str:
    """Return the words for an operation."""
    return OPERATIONS.get(name, name)


def count(number: int, noun: str) -> str:
    """Write a number of things."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def size(nbytes: float) -> str:
    """Write a number of bytes."""
    if nbytes >= 1e9:
        return f"{nbytes / 1e9:.1f} GB"
    if nbytes >= 1e6:
        return f"{nbytes / 1e6:.1f} MB"
    return f"{nbytes / 1e3:.0f} KB" if nbytes >= 1e3 else f"{nbytes:.0f} B"


def cache_bytes(text: str) -> int:
    """Return the bytes of a cache whose size the kernel writes as, say, 32K."""
    digits, unit = (text[:-1], text[-1]) if text[-1] in _BINARY else (text, "")
    return int(digits) * _BINARY.get(unit, 1)


def duration(seconds: float) -> str:
    """Write a time."""
    if seconds < 1e-6:
        return f"{seconds * 1e9:.0f} ns"
    if seconds < 1e-3:
        return f"{seconds * 1e6:.1f} µs"
    return f"{seconds * 1e3:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"


def over(ratio: Interval, to: str = "-") -> str:
    """Write a ratio that may be near 1, with its interval if that has ends."""
    return _ratio(ratio, to, 2 if ratio.median < 10 else 1)


def times(ratio: Interval, to: str = "-") -> str:
    """Write how many times slower somebody is, with the interval if that has ends."""
    return _ratio(ratio, to, 1)


def _ratio(ratio: Interval, to: str, digits: int) -> str:
    median, low, high = (f"{end:,.{digits if ratio.median < 100 else 0}f}" for end in ratio)
    return f"{median} ({low}{to}{high})" if math.isfinite(ratio.high) else median


def error(value: float | None) -> str:
    """Write a relative error; no number is none."""
    return "" if value is None else f"{value:.1e}"
