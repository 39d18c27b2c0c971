# SPDX-License-Identifier: BSD-3-Clause
"""Reading of scalar arguments, with errors that say what to do instead."""

from __future__ import annotations

import contextlib
import numbers
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np

from fastclip import _dtypes


def show(value: object) -> str:
    """Describe a value in an error message: its type, and the value itself where it is short."""
    kind = type(value).__name__
    try:
        text = repr(value)
    except Exception:  # half made, say: the error at hand matters more
        return f"of type {kind}"
    return f"{text} ({kind})" if len(text) <= 40 and "\n" not in text else f"of type {kind}"


def not_installed(caller: str, name: str) -> ModuleNotFoundError:
    """Say how to get a framework."""
    return ModuleNotFoundError(f"{caller}: {name} is not installed: pip install {name}", name=name)


def out_of_place(function: str) -> str | None:
    """Name the function that returns new arrays where `function` writes; None where there is none."""
    return None if function == "clip_update_by_global_norm_" else function.removesuffix("_")


@contextlib.contextmanager
def importing(caller: str, *frameworks: str) -> Iterator[None]:
    """Say how to get the framework that turns out not to be installed; the fault of a broken installation passes."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in frameworks:
            raise
        raise not_installed(caller, error.name) from None


def real(function: str, argument: str, value: Any) -> float:
    """Read a real number: a Python or NumPy scalar, or a 0-d array."""
    if type(value) is float:
        return value
    scalar = value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value
    narrow = isinstance(scalar, np.generic) and _dtypes.supported(scalar.dtype)  # bfloat16 is no numbers.Real
    if isinstance(scalar, (bool, np.bool_)) or not (narrow or isinstance(scalar, numbers.Real)):
        raise TypeError(f"{function}: {argument} is {show(value)}; expected a real number.")
    try:
        return float(scalar)
    except OverflowError:
        raise ValueError(f"{function}: {argument} is an integer beyond float64; use math.inf.") from None


def limit(function: str, argument: str, value: Any) -> float:
    """Read the limit of a norm: a real number, not negative and not NaN."""
    if type(value) is float and value >= 0.0:
        return value
    number = real(function, argument, value)
    if not number >= 0.0:
        raise ValueError(
            f"{function}: {argument} is {number!r}; expected a number >= 0. Use math.inf for 'do not clip'."
        )
    return number


def nonfinite(function: str) -> NoReturn:
    """Raise for elements that are NaN or infinite under the policy 'raise'."""
    raise FloatingPointError(
        f"{function}: the arrays hold NaN or infinity, and nonfinite='raise'. Nothing was written; "
        "fastclip.measure() tells where they are."
    )
