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
from fastclip.torch import _stock, _tensors
from fastclip.torch._clip_grad import clip_grad_norm_, clip_grads_with_norm_, get_total_norm

# Below, a pass over gradients that are in cache is cheaper than the tensor that holds the scale (Zen 3, 2 cores).
FOLDED_BYTES = 2 << 20

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


def _all_cuda(tensors: list[Tensor]) -> bool:
    return bool(tensors) and all(tensor.is_cuda for tensor in tensors)


def _clips(optimizer: Any) -> bool:
    hooks = optimizer._optimizer_step_pre_hooks.values()
    return any(isinstance(getattr(hook, "__self__", None), ClipInStep) for hook in hooks)


def _stepping(optimizer: Any) -> Any:
    """Return what has the hooks: of a wrapper that passes for an optimizer (Accelerate's), what it wraps; or None."""
    while isinstance(optimizer, Optimizer) and not hasattr(optimizer, "_optimizer_step_pre_hooks"):
        optimizer = getattr(optimizer, "optimizer", None)
    return optimizer if isinstance(optimizer, Optimizer) else None


def install(caller: str, optimizer: Any, max_norm: Any, norm_type: Any, error_if_nonfinite: bool) -> ClipInStep:
    """Let an optimizer clip in its steps; errors name the function that the user called."""
    stepping = _stepping(optimizer)
    if stepping is None:
        raise TypeError(f"{caller}: optimizer is {_errors.show(optimizer)}; expected a torch.optim.Optimizer.")
    if _clips(stepping):
        raise ValueError(
            f"{caller}: optimizer clips already; set max_norm of what clip_in_step returned (a ClippedOptimizer has it "
            "as `clipping`), or call its remove() first."
        )
    numbers = {}
    for name, value in (("max_norm", max_norm), ("norm_type", norm_type)):
        try:
            numbers[name] = float(value)
        except (TypeError, ValueError):
            raise TypeError(f"{caller}: {name} is {_errors.show(value)}; expected a number.") from None
    return ClipInStep(stepping, **numbers, error_if_nonfinite=bool(error_if_nonfinite))


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

    def _clip(self, optimizer: Any) -> None:
        parameters = _parameters(optimizer)
        scaled_by: Tensor | None = vars(optimizer).get("grad_scale")
        listened = _tensors.listened()
        folds = self.max_norm > 0 and _can_fold(optimizer) and not listened
        if scaled_by is None and not folds:
            self.total_norm = clip_grad_norm_(parameters, self.max_norm, self.norm_type, self.error_if_nonfinite)
            return
        answer = NotImplemented if listened else _tensors.norm(parameters, True, self.norm_type)
        if answer is NotImplemented:
            self._clip_on_its_device(optimizer, parameters, scaled_by, folds)
            return
        norm, finite, exact, bytes_, repeats, held = answer
        before = 1.0 if scaled_by is None else scaled_by.item()
        number = exact / before
        exactly = torch.tensor(number, dtype=torch.float64, device=_tensors.CPU)
        self.total_norm = norm if scaled_by is None else exactly.to(norm.dtype)
        if not finite and _skips(optimizer):
            return
        if not finite and self.error_if_nonfinite:
            _stock.refuse(self.norm_type)
        folds = folds and finite and self._foldable(norm, scaled_by, repeats)
        scale = max(1.0, (number + 1e-6) / self.max_norm) * before if folds else math.inf
        if scale == before:  # within the limit
            return
        if scale <= held and (scaled_by is not None or bytes_ >= FOLDED_BYTES):
            self._set(optimizer, torch.tensor(scale, dtype=torch.float32, device=_tensors.CPU))
        else:
            beyond = scaled_by is not None or (finite and norm.isinf())  # the norm is no number of its dtype
            clip_grads_with_norm_(parameters, self.max_norm, exactly if beyond else norm)

    @staticmethod
    def _foldable(norm: Tensor, scaled_by: Tensor | None, repeats: bool) -> bool:
        """Tell whether the kernels divide well: in f32, and what is listed twice they divide twice."""
        return not repeats and (norm.dtype != torch.float64 or scaled_by is not None)

    def _clip_on_its_device(self, optimizer: Any, parameters: list[Any], scaled_by: Tensor | None, folds: bool) -> None:
        """Do the same by PyTorch's operations, without asking a device for a number."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        checked = self.error_if_nonfinite and not _skips(optimizer)
        norm = get_total_norm(gradients, self.norm_type, checked)
        self.total_norm = norm if scaled_by is None else norm / scaled_by
        repeats = len(_tensors.distinct(gradients)) < len(gradients)
        # A CPU's lists come here for what is not plain: another order of the norm, memory shared in part.
        if folds and _all_cuda(gradients) and self._foldable(norm, scaled_by, repeats):
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
        optimizer: any optimizer of PyTorch's, or Accelerate's round one; nothing of it is replaced, two hooks are
            registered.
        max_norm: the limit, as for `clip_grad_norm_`.
        norm_type: the p of the norm.
        error_if_nonfinite: raise before the step if the norm is infinite or NaN; not in one that a GradScaler skips.

    Returns:
        A handle, with `remove()`, `max_norm`, and `total_norm`, the norm that the last step found.

    Raises:
        RuntimeError: in a step, see `error_if_nonfinite`.
        TypeError: `optimizer` is none, or a limit no number.
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
    return install("clip_in_step", optimizer, max_norm, norm_type, error_if_nonfinite)
