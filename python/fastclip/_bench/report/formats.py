# SPDX-License-Identifier: BSD-3-Clause
"""How numbers and names are written, wherever they appear."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from fastclip._bench.intervals import Interval

# In the order in which they are listed; who is not here keeps the name and comes last.
LABELS = {
    "limit": "limit",
    "streams": "limit, streams",
    "fastclip": "fastclip",
    "numpy": "NumPy",
    "scipy": "SciPy",
    "fastclip.torch": "fastclip.torch",
    "fastclip.optax": "fastclip.optax",
    "fastclip.optax donated": "fastclip.optax donated",
    "fastclip.flwr": "fastclip.flwr",
    "fastclip.thinc": "fastclip.thinc",
    "torch": "PyTorch",
    "torch loop": "PyTorch loop",
    "fastclip.tensorflow": "fastclip.tensorflow",
    "tensorflow": "TensorFlow",
    "tf.function": "tf.function",
    "jax": "JAX",
    "optax": "Optax",
    "optax donated": "Optax donated",
    "numba": "Numba",
    "flower": "Flower",
    "thinc": "Thinc",
    "opacus": "Opacus",
    "cupy": "CuPy",
    "torch cuda": "PyTorch CUDA",
}

OPERATIONS = {
    "within": "norm, within limit",
    "clip": "norm, clipping",
    "value": "by value",
    "clip_out": "clip(a, lo, hi, out=a)",
    "clip_new": "norm, into new arrays",
    "each": "each array by norm",
    "rows": "each row by norm",
    "per_example": "each example by norm",
    "update_within": "update within the limit",
    "update_clip": "update, clipping",
    "positional": "clip(a, lo, hi)",
    "keywords": "clip, by keywords",
}

BYTES = {"GB": 1 << 30, "MB": 1 << 20, "KB": 1 << 10, "B": 1}  # of caches, and of sizes that are powers of 2
SECONDS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}


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


def in_units(value: float, units: Mapping[str, float]) -> str:
    """Write a round number with the largest unit that it reaches."""
    name, unit = next(((n, u) for n, u in units.items() if value >= u * (1 - 1e-9)), list(units.items())[-1])
    return f"{value / unit:.3g} {name}"


def cache_bytes(text: str) -> int:
    """Return the bytes of a cache whose size the kernel writes as, say, 32K."""
    unit = f"{text[-1]}B"
    return int(text[:-1]) * BYTES[unit] if unit in BYTES else int(text)


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
    digits = max(digits, 1 - math.floor(math.log10(ratio.median))) if 0 < ratio.median < 1 else digits
    median, low, high = (f"{end:.{digits if ratio.median < 100 else 0}f}" for end in ratio)
    return f"{median} ({low}{to}{high})" if math.isfinite(ratio.high) else median


def error(value: float | None) -> str:
    """Write a relative error; no number is none."""
    return "" if value is None else f"{value:.1e}"
