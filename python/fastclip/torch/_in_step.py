# SPDX-License-Identifier: BSD-3-Clause
"""Clipping as a part of an optimizer's step: its fused kernels divide by a scale in the pass that they make anyway."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from fastclip.torch import _tensors
from fastclip.torch._clip_grad import clip_grad_norm_, get_total_norm, refuse

# Below, a pass over gradients that are in cache is cheaper than the tensor that holds the scale (Zen 3, 2 cores).
FOLDED_BYTES = 2 << 20


def _parameters(optimizer: Optimizer) -> list[Any]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _can_fold(optimizer: Optimizer) -> bool:
    """Tell whether the kernels of every group take a scale."""
    return bool(
        getattr(optimizer, "_step_supports_amp_scaling", False)
        and all(group.get("fused") and not group.get("differentiable") for group in optimizer.param_groups)
    )


class ClipInStep:
    """Hold what `clip_in_step` has installed: `remove()` takes it away.

    Attributes:
        max_norm: the limit; it may be set between steps.
        total_norm: the norm before clipping that the last step found, a tensor; None before the first one.

    Example:
        >>> import torch, fastclip.torch
        >>> weight = torch.nn.Parameter(torch.zeros(2))
        >>> clipping = fastclip.torch.clip_in_step(torch.optim.SGD([weight], lr=1.0), 2.0)
        >>> clipping.remove()
    """

    def __init__(self, optimizer: Optimizer, max_norm: float, norm_type: float, error_if_nonfinite: bool) -> None:
        self.max_norm = max_norm
        self.total_norm: Tensor | None = None
        self._norm_type, self._error_if_nonfinite = norm_type, error_if_nonfinite
        self._scale: Tensor | None = None  # ours, while the optimizer has it
        self._scale_before: Tensor | None = None  # a GradScaler's
        self._bytes = 0, 0  # how many parameters there were, and how large they are
        self._hooks = [
            optimizer.register_step_pre_hook(self._before),
            optimizer.register_step_post_hook(self._after),
        ]

    def remove(self) -> None:
        """Let the optimizer step as it did before."""
        for hook in self._hooks:
            hook.remove()

    def _before(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._after(optimizer, args, kwargs)  # the last step may have raised
        closure: Callable[[], Any] | None = args[1] if len(args) > 1 else kwargs.get("closure")
        if closure is None:
            self._clip(optimizer)
            return None

        def clipped() -> Any:
            loss = closure()  # computes the gradients
            self._clip(optimizer)
            return loss

        if len(args) > 1:
            return (args[0], clipped, *args[2:]), kwargs
        return args, {**kwargs, "closure": clipped}

    def _after(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._scale is not None and getattr(optimizer, "grad_scale", None) is self._scale:
            if self._scale_before is None:
                del optimizer.grad_scale
            else:
                optimizer.grad_scale = self._scale_before
        self._scale = self._scale_before = None

    def _small(self, parameters: list[Any]) -> bool:
        if self._bytes[0] != len(parameters):
            self._bytes = len(parameters), sum(parameter.numel() * parameter.element_size() for parameter in parameters)
        return self._bytes[1] < FOLDED_BYTES

    def _clip(self, optimizer: Any) -> None:
        parameters = _parameters(optimizer)
        scale_before: Tensor | None = getattr(optimizer, "grad_scale", None)
        if scale_before is None and not (self.max_norm > 0 and _can_fold(optimizer) and not self._small(parameters)):
            self._in_place(parameters)
            return
        norm = self._norm(parameters)
        if norm.dtype == torch.float64 and scale_before is None:  # the kernels hold the scale in f32
            self._in_place(parameters)
            return
        if norm.device.type == "cpu":
            self._fold(optimizer, parameters, norm, scale_before)
        else:  # without asking the device for the number
            before = 1.0 if scale_before is None else scale_before
            self.total_norm = norm / before
            self._set(optimizer, torch.clamp((self.total_norm + 1e-6) / self.max_norm, min=1.0) * before, scale_before)

    def _in_place(self, parameters: list[Any]) -> None:
        self.total_norm = clip_grad_norm_(parameters, self.max_norm, self._norm_type, self._error_if_nonfinite)

    def _norm(self, parameters: list[Any]) -> Tensor:
        answer = _tensors.norm(parameters, True, self._norm_type) if not _tensors.listened() else NotImplemented
        if answer is NotImplemented:
            gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
            return get_total_norm(gradients, self._norm_type, self._error_if_nonfinite)
        norm, finite = answer
        if self._error_if_nonfinite and not finite:
            refuse(self._norm_type)
        return norm  # type: ignore[no-any-return]

    def _fold(self, optimizer: Any, parameters: list[Any], norm: Tensor, scale_before: Tensor | None) -> None:
        before = 1.0 if scale_before is None else scale_before.item()
        self.total_norm = norm if scale_before is None else norm / before
        number = norm.item() / before
        if scale_before is None and number == torch.inf:  # is it beyond the dtype, or an element's?
            self._in_place(parameters)
            return
        scale = (number + 1e-6) / self.max_norm if self.max_norm > 0 else torch.inf
        if scale > 1.0 or scale != scale:
            self._set(optimizer, torch.tensor(scale * before, dtype=torch.float32, device="cpu"), scale_before)

    def _set(self, optimizer: Any, scale: Tensor, scale_before: Tensor | None) -> None:
        self._scale, self._scale_before = scale, scale_before
        optimizer.grad_scale = scale


def clip_in_step(
    optimizer: Optimizer, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> ClipInStep:
    """Clip the gradients of an optimizer's parameters by their total norm in every step from now on.

    PyTorch's fused Adam, AdamW, SGD and Adagrad divide the gradients by a scale in the pass that they make anyway: with
    them clipping costs only the reading of the norm. Elsewhere, for float64, and below 2 MB, where that is faster, the
    gradients are scaled in place before the step, as `clip_grad_norm_` does.

    The parameters become what `clip_grad_norm_` and a step make of them, but for the last place: a quotient is rounded
    otherwise than a product. Either way `grad` holds the clipped gradients afterwards. A `torch.amp.GradScaler` in
    whose step the fused optimizer takes part is respected: the norm, the limit and `total_norm` are those of the
    unscaled gradients. A closure is called first, and what it computes is clipped.

    Args:
        optimizer: any optimizer of PyTorch's; nothing of it is replaced, two hooks are registered.
        max_norm: the limit, as for `clip_grad_norm_`.
        norm_type: the p of the norm.
        error_if_nonfinite: raise before the step if the norm is infinite or NaN.

    Returns:
        A handle, with `remove()`, `max_norm`, and `total_norm`, the norm that the last step found.

    Raises:
        RuntimeError: in a step, see `error_if_nonfinite`.
        TypeError: `optimizer` is none.

    Example:
        >>> import torch, fastclip.torch
        >>> weight = torch.nn.Parameter(torch.zeros(2))
        >>> optimizer = torch.optim.SGD([weight], lr=1.0)
        >>> clipping = fastclip.torch.clip_in_step(optimizer, 2.5)
        >>> weight.grad = torch.tensor([3.0, 4.0])
        >>> optimizer.step()
        >>> clipping.total_norm, weight.data
        (tensor(5.), tensor([-1.5000, -2.0000]))
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"clip_in_step: optimizer is a {type(optimizer).__name__}; expected a torch.optim.Optimizer.")
    return ClipInStep(optimizer, float(max_norm), float(norm_type), bool(error_if_nonfinite))


class ClippedOptimizer:
    """Wrap an optimizer so that every step clips first, as `clip_in_step` does to the optimizer itself.

    The wrapper passes for the optimizer (`isinstance` and every attribute, those that are set included), so that
    schedulers and `state_dict` work on either of the two. Its own attribute `clipping` is the handle that
    `clip_in_step` returns.

    Args:
        optimizer: any optimizer of PyTorch's.
        max_norm: the limit, as for `clip_grad_norm_`.
        norm_type: the p of the norm.
        error_if_nonfinite: raise before the step if the norm is infinite or NaN.

    Raises:
        TypeError: `optimizer` is none.

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
        object.__setattr__(self, "clipping", clip_in_step(optimizer, max_norm, norm_type, error_if_nonfinite))
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

    def __repr__(self) -> str:
        return f"ClippedOptimizer({self._optimizer!r}, max_norm={self.clipping.max_norm!r})"
