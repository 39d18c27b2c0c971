# SPDX-License-Identifier: BSD-3-Clause
"""For arrays on a GPU only: what the caller uses on the device, and never waits for."""

from __future__ import annotations

from typing import Any

from fastclip import _errors
from fastclip._arrays import gather_anywhere
from fastclip._config import backend
from fastclip._rules import GLOBAL_NORM

__all__ = ["norm_and_coef"]


def norm_and_coef(t_list: Any, clip_norm: float, *, nonfinite: str = "propagate") -> tuple[Any, Any]:
    """Compute the norm of a list on a GPU and the coefficient that clips it, and write to no array of it.

    An optimizer that multiplies gradients anyway (PyTorch's fused ones divide by a `grad_scale`) can take the
    coefficient: clipping then costs one read of the gradients and no write.

    Args:
        t_list: arrays on one GPU, as for `clip_by_global_norm_`.
        clip_norm: the limit, >= 0. Infinity clips nothing, 0 gives a coefficient of 0.
        nonfinite: what NaN or infinity among the elements leads to: "propagate" (a coefficient of 0 for an infinite
            norm, of NaN for NaN), "nan" (NaN) or "skip" (1).

    Returns:
        Two new 0-d arrays of CuPy's on the device: the norm in float64, and the coefficient in float32, 1 within the
        limit. Nothing waits for the GPU.

    Raises:
        TypeError: an entry is no such array, or is not on a GPU.
        ValueError: `clip_norm` is negative or NaN, or `nonfinite` is none of these.

    Source: the rule is that of `clip_by_global_norm_`.

    Example:
        >>> import numpy as np, fastclip.cuda
        >>> fastclip.cuda.norm_and_coef([np.ones(3)], 1.0)
        Traceback (most recent call last):
        TypeError: norm_and_coef: t_list is in the CPU's memory; expected arrays on a GPU.
    """
    limit = _errors.limit("norm_and_coef", "clip_norm", clip_norm)
    if nonfinite not in ("propagate", "nan", "skip"):
        raise ValueError(f"norm_and_coef: nonfinite is {nonfinite!r}; expected one of propagate, nan, skip.")
    chosen, _, arrays = gather_anywhere("norm_and_coef", "t_list", t_list, write=False)
    if chosen is backend:
        raise TypeError("norm_and_coef: t_list is in the CPU's memory; expected arrays on a GPU.")
    found: tuple[Any, Any] = chosen.norm_and_coef(arrays, limit, GLOBAL_NORM[nonfinite])
    return found
