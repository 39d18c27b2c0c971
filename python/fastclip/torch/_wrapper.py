# SPDX-License-Identifier: BSD-3-Clause
"""An optimizer that clips, as an object of its own."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer

from fastclip.torch._in_step import ClipInStep, install


class ClippedOptimizer:
    """Wrap an optimizer so that every step clips first, as `clip_in_step` does to the optimizer itself.

    The wrapper passes for the optimizer (`isinstance` and every attribute, those that are set included), so that
    schedulers and `state_dict` work on either of the two; a copy clips, too. Its own attribute `clipping` is the handle
    that `clip_in_step` returns.

    Args:
        optimizer: any optimizer of PyTorch's, or Accelerate's round one.
        max_norm: the limit, as for `clip_grad_norm_`.
        norm_type: the p of the norm.
        error_if_nonfinite: raise before the step if the norm is infinite or NaN.

    Raises:
        TypeError: `optimizer` is none, or a limit no number.
        ValueError: it clips already.

    Example:
        >>> import torch, fastclip.torch
        >>> weight = torch.nn.Parameter(torch.zeros(2))
        >>> optimizer = fastclip.torch.ClippedOptimizer(torch.optim.SGD([weight], lr=1.0), max_norm=2.5)
        >>> weight.grad = torch.tensor([3.0, 4.0])
        >>> optimizer.step()
        >>> weight.data
        tensor([-1.5000, -2.0000])
    """

    _optimizer: Optimizer
    clipping: ClipInStep

    def __init__(
        self, optimizer: Optimizer, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
    ) -> None:
        self._wrap("ClippedOptimizer", optimizer, max_norm, norm_type, error_if_nonfinite)

    def _wrap(self, caller: str, optimizer: Optimizer, *arguments: Any) -> None:
        object.__setattr__(self, "clipping", install(caller, optimizer, *arguments))
        object.__setattr__(self, "_optimizer", optimizer)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self._optimizer)

    def __getattr__(self, name: str) -> Any:
        if name == "_optimizer":  # not set yet, in copy and pickle
            raise AttributeError(name)
        return getattr(self._optimizer, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._optimizer, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._optimizer, name)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:  # of a copy: its optimizer is copied without hooks
        clipping = self.clipping
        arguments = self._optimizer, clipping.max_norm, clipping.norm_type, clipping.error_if_nonfinite
        return ClippedOptimizer, arguments

    def __repr__(self) -> str:
        return f"ClippedOptimizer({self._optimizer!r}, max_norm={self.clipping.max_norm!r})"


def clip_gradients_by_norm(optimizer: Optimizer, clip_norm: float) -> ClippedOptimizer:
    """Wrap an optimizer, with errors that name this function."""
    made = ClippedOptimizer.__new__(ClippedOptimizer)
    made._wrap("clip_gradients_by_norm", optimizer, clip_norm, 2.0, False)
    return made
