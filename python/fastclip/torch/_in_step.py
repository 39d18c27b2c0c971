# SPDX-License-Identifier: BSD-3-Clause
"""Clipping as a part of an optimizer's step: its fused kernels divide by a scale in the pass that they make anyway."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from fastclip import _errors
from fastclip.torch import _tensors
from fastclip.torch._clip_grad import clip_grad_norm_, clip_grads_with_norm_, get_total_norm, refuse

# Below, a pass over gradients that are in cache is cheaper than the tensor that holds the scale (Zen 3, 2 cores).
FOLDED_BYTES = 2 << 20

_LARGEST = torch.finfo(torch.float32).max
_ABSENT: Any = object()


def _parameters(optimizer: Optimizer) -> list[Any]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _can_fold(optimizer: Optimizer) -> bool:
    """Tell whether the kernels of every group take a scale."""
    return bool(
        getattr(optimizer, "_step_supports_amp_scaling", False)
        and all(group.get("fused") and not group.get("differentiable") for group in optimizer.param_groups)
    )


def _skips(optimizer: Any) -> bool:
    """Tell whether a GradScaler has found what makes the kernels skip this step."""
    found = getattr(optimizer, "found_inf", None)
    return found is not None and found.item() > 0


def _clips(optimizer: Optimizer) -> bool:
    hooks = getattr(optimizer, "_optimizer_step_pre_hooks", {}).values()
    return any(isinstance(getattr(hook, "__self__", None), ClipInStep) for hook in hooks)


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
        self.norm_type, self.error_if_nonfinite = norm_type, error_if_nonfinite
        self._optimizer = weakref.ref(optimizer)
        self._ours: Tensor | None = None  # the scale, while the optimizer has it
        self._theirs: Any = _ABSENT  # what stood there before: a GradScaler's, or its None
        self._counted = 0  # how many parameters there were when the next two were found
        self._bytes = 0  # of those with a gradient
        self._largest = _LARGEST  # scale that the kernels can take: they hold it in f32, and in the parameters' dtype
        self._hooks = [
            optimizer.register_step_pre_hook(self._before),
            optimizer.register_step_post_hook(self._after),
        ]

    def remove(self) -> None:
        """Let the optimizer step as it did before."""
        for hook in self._hooks:
            hook.remove()
        optimizer = self._optimizer()
        if optimizer is not None:
            self._restore(optimizer)

    def _before(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._restore(optimizer)  # the last step may have raised
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
        self._restore(optimizer)

    def _restore(self, optimizer: Any) -> None:
        if self._ours is not None and vars(optimizer).get("grad_scale") is self._ours:
            if self._theirs is _ABSENT:
                del optimizer.grad_scale
            else:
                optimizer.grad_scale = self._theirs
        self._ours, self._theirs = None, _ABSENT

    def _set(self, optimizer: Any, scale: Tensor) -> None:
        self._ours, self._theirs = scale, vars(optimizer).get("grad_scale", _ABSENT)
        optimizer.grad_scale = scale

    def _look_at(self, parameters: list[Any]) -> None:
        if self._counted == len(parameters) and self._bytes:
            return
        found = [p for p in parameters if p.grad is not None]
        self._counted = len(parameters)
        self._bytes = sum(p.numel() * p.element_size() for p in found)
        self._largest = min([_LARGEST, *(torch.finfo(dtype).max for dtype in {p.dtype for p in found})])

    def _clip(self, optimizer: Any) -> None:
        parameters = _parameters(optimizer)
        scaled_by: Tensor | None = vars(optimizer).get("grad_scale")
        listened = _tensors.listened()
        folds = self.max_norm > 0 and _can_fold(optimizer) and not listened
        if folds:
            self._look_at(parameters)
        if scaled_by is None and not (folds and self._bytes >= FOLDED_BYTES):
            self.total_norm = clip_grad_norm_(parameters, self.max_norm, self.norm_type, self.error_if_nonfinite)
            return
        answer = NotImplemented if listened else _tensors.norm(parameters, True, self.norm_type)
        if answer is NotImplemented:
            self._clip_on_its_device(optimizer, parameters, scaled_by, folds)
            return
        norm, finite, exact, repeats = answer
        before = 1.0 if scaled_by is None else scaled_by.item()
        number = exact / before
        self.total_norm = norm if scaled_by is None else torch.tensor(number, dtype=norm.dtype, device=_tensors.CPU)
        if not finite and _skips(optimizer):
            return
        if not finite and self.error_if_nonfinite:
            refuse(self.norm_type)
        # The kernels divide a tensor that is listed twice by the scale twice.
        folds = folds and finite and not repeats and (norm.dtype != torch.float64 or scaled_by is not None)
        scale = max(1.0, (number + 1e-6) / self.max_norm) * before if folds else math.inf
        if scale == before:  # within the limit
            return
        if scale <= self._largest:
            self._set(optimizer, torch.tensor(scale, dtype=torch.float32, device=_tensors.CPU))
        elif scaled_by is None:
            clip_grad_norm_(parameters, self.max_norm, self.norm_type)
        else:
            clip_grads_with_norm_(parameters, self.max_norm, torch.tensor(number, dtype=torch.float64))

    def _clip_on_its_device(self, optimizer: Any, parameters: list[Any], scaled_by: Tensor | None, folds: bool) -> None:
        """Do the same by PyTorch's operations, without asking a device for a number."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        checked = self.error_if_nonfinite and not _skips(optimizer)
        norm = get_total_norm(gradients, self.norm_type, checked)
        self.total_norm = norm if scaled_by is None else norm / scaled_by
        # A CPU's lists come here for what is not plain: another order of the norm, memory shared in part.
        if folds and gradients and all(gradient.is_cuda for gradient in gradients) and norm.dtype != torch.float64:
            scale = torch.clamp((self.total_norm.float() + 1e-6) / self.max_norm, min=1.0)
            self._set(optimizer, scale if scaled_by is None else scale * scaled_by)
        else:
            clip_grads_with_norm_(parameters, self.max_norm, self.total_norm)


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
    unscaled gradients. A closure is called first, and what it computes is clipped. Copies of the optimizer do not clip:
    PyTorch leaves hooks behind when it copies or pickles one.

    Args:
        optimizer: any optimizer of PyTorch's; nothing of it is replaced, two hooks are registered.
        max_norm: the limit, as for `clip_grad_norm_`.
        norm_type: the p of the norm.
        error_if_nonfinite: raise before the step if the norm is infinite or NaN; not in one that a GradScaler skips.

    Returns:
        A handle, with `remove()`, `max_norm`, and `total_norm`, the norm that the last step found.

    Raises:
        RuntimeError: in a step, see `error_if_nonfinite`.
        TypeError: `optimizer` is none.
        ValueError: it clips already.

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
        raise TypeError(f"clip_in_step: optimizer is {_errors.show(optimizer)}; expected a torch.optim.Optimizer.")
    if _clips(optimizer):
        raise ValueError("clip_in_step: optimizer clips already; set that handle's max_norm, or remove() it first.")
    return ClipInStep(optimizer, float(max_norm), float(norm_type), bool(error_if_nonfinite))


class ClippedOptimizer:
    """Wrap an optimizer so that every step clips first, as `clip_in_step` does to the optimizer itself.

    The wrapper passes for the optimizer (`isinstance` and every attribute, those that are set included), so that
    schedulers and `state_dict` work on either of the two; a copy clips, too. Its own attribute `clipping` is the handle
    that `clip_in_step` returns.

    Args:
        optimizer: any optimizer of PyTorch's.
        max_norm: the limit, as for `clip_grad_norm_`.
        norm_type: the p of the norm.
        error_if_nonfinite: raise before the step if the norm is infinite or NaN.

    Raises:
        TypeError: `optimizer` is none.
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

    def __delattr__(self, name: str) -> None:
        delattr(self._optimizer, name)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:  # of a copy: its optimizer is copied without hooks
        clipping = self.clipping
        arguments = self._optimizer, clipping.max_norm, clipping.norm_type, clipping.error_if_nonfinite
        return ClippedOptimizer, arguments

    def __repr__(self) -> str:
        return f"ClippedOptimizer({self._optimizer!r}, max_norm={self.clipping.max_norm!r})"
