# SPDX-License-Identifier: BSD-3-Clause
"""For arrays on a GPU only: what the caller uses on the device, and never waits for."""

from __future__ import annotations

import math
from typing import Any

from fastclip import _errors
from fastclip._arrays import gather_anywhere
from fastclip._config import backend
from fastclip._rules import GLOBAL_NORM, TENSOR_NORM

__all__ = ["clip_and_sum", "clip_rows_", "example_norms", "norm_and_coef"]


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
    chosen, arrays = _on_gpu("norm_and_coef", "t_list", t_list, write=False, shaped=False)
    found: tuple[Any, Any] = chosen.norm_and_coef(arrays, limit, GLOBAL_NORM[nonfinite])
    return found


def clip_rows_(batch: Any, clip_norm: float) -> None:
    """Clip each row of a batch in place so that its own norm is at most `clip_norm`.

    A row within the limit is not written. Rows are read once if they fit into registers (16 KB), the shared memory of a
    block (224 KB on an H100) or that of eight blocks of a chip from sm_90 on (1.75 MB). Others are read twice.

    Args:
        batch: an array of shape (B, ...) on a GPU, as for `clip_by_global_norm_`; a row is all but the first axis.
        clip_norm: the limit, >= 0. Infinity clips nothing, 0 gives zeros.

    NaN or infinity: finite elements of that row become 0 and infinite ones NaN; with a NaN and a limit above 0, all do.

    Raises:
        TypeError: `batch` is no such array, or has no axis.
        ValueError: it is read-only, or `clip_norm` is negative or NaN.

    Source: `fastclip.clip_by_norm_` with all axes but the first.

    Example:
        >>> import numpy as np, fastclip.cuda
        >>> fastclip.cuda.clip_rows_(np.ones((2, 3)), 1.0)
        Traceback (most recent call last):
        TypeError: clip_rows_: batch is in the CPU's memory; expected arrays on a GPU.
    """
    limit = _errors.limit("clip_rows_", "clip_norm", clip_norm)
    chosen, arrays = _on_gpu("clip_rows_", "batch", [batch], write=True)
    (array,) = _batches("clip_rows_", "batch", arrays)
    axes = (1 << len(array.shape)) - 2
    chosen.check_rows("clip_rows_", [("batch", array, axes)])
    chosen.clip_rows(array, None, axes, limit, TENSOR_NORM["in place"])


def example_norms(t_list: Any) -> Any:
    """Compute the norm of each example over all arrays of a list.

    Args:
        t_list: arrays of shape (B, ...) on one GPU, one for each parameter: gradients of each of B examples.

    Returns:
        A new float64 array of CuPy's of shape (B,), on the device; each within an ULP of float32. NaN or infinity among
        an example's elements makes its norm NaN or infinite. Nothing waits for the GPU.

    Raises:
        TypeError: an entry is no such array, or is not on a GPU.
        ValueError: the arrays differ in their first axis, or have more than 4,194,304 examples together.

    Source: Abadi et al. (2016), "Deep learning with differential privacy", whose clipping needs these norms.

    Example:
        >>> import numpy as np, fastclip.cuda
        >>> fastclip.cuda.example_norms([np.ones((2, 3))])
        Traceback (most recent call last):
        TypeError: example_norms: t_list is in the CPU's memory; expected arrays on a GPU.
    """
    chosen, arrays = _on_gpu("example_norms", "t_list", t_list, write=False)
    return chosen.example_norms(_batches("example_norms", "t_list", arrays), math.inf, TENSOR_NORM["in place"])


def clip_and_sum(t_list: Any, clip_norm: float) -> tuple[list[Any], Any]:
    """Clip each example's gradients by their common norm, and add the examples up.

    Each sum is formed in float64, in the order of the examples, and rounded once: the clipped gradients themselves are
    written nowhere.

    Args:
        t_list: arrays of shape (B, ...) on one GPU, as for `example_norms`; an example's elements must be adjacent.
        clip_norm: the limit for each example's norm, >= 0. Infinity clips nothing, 0 gives zeros.

    Returns:
        A list of new CuPy arrays in one block of memory, of the shapes without their first axis (bfloat16 needs the
        package ml_dtypes), and
        the norms of the examples before clipping. NaN or infinity in an example reaches the sums. Nothing waits.

    Raises:
        TypeError: an entry is no such array, or is not on a GPU.
        ValueError: the arrays differ in their first axis or have more than 4,194,304 examples together, an example's
            elements are not adjacent, or `clip_norm` is negative or NaN.

    Source: Abadi et al. (2016), "Deep learning with differential privacy", without the noise.

    Example:
        >>> import numpy as np, fastclip.cuda
        >>> fastclip.cuda.clip_and_sum([np.ones((2, 3))], 1.0)
        Traceback (most recent call last):
        TypeError: clip_and_sum: t_list is in the CPU's memory; expected arrays on a GPU.
    """
    limit = _errors.limit("clip_and_sum", "clip_norm", clip_norm)
    chosen, arrays = _on_gpu("clip_and_sum", "t_list", t_list, write=False)
    found: tuple[list[Any], Any] = chosen.clip_and_sum(
        "clip_and_sum", _batches("clip_and_sum", "t_list", arrays), limit, TENSOR_NORM["in place"]
    )
    return found


def _on_gpu(function: str, argument: str, tree: Any, *, write: bool, shaped: bool = True) -> tuple[Any, list[Any]]:
    chosen, _, arrays = gather_anywhere(function, argument, tree, write=write, shaped=shaped)
    if chosen is backend:
        raise TypeError(f"{function}: {argument} is in the CPU's memory; expected arrays on a GPU.")
    return chosen, arrays


def _batches(function: str, argument: str, arrays: list[Any]) -> list[Any]:
    first = arrays[0].shape
    for i, a in enumerate(arrays):
        if not a.shape:
            raise TypeError(f"{function}: {argument}, entry {i}, has no axis; expected shapes (B, ...).")
        if a.shape[0] != first[0]:
            raise ValueError(
                f"{function}: {argument}, entry {i}, has {a.shape[0]} rows and the first one {first[0]}; "
                "all must have one for each example."
            )
    return arrays
