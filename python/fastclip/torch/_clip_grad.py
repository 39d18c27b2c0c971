# SPDX-License-Identifier: BSD-3-Clause
"""The functions of `torch.nn.utils.clip_grad`, as PyTorch 2.13 has them."""

from __future__ import annotations

import types
import warnings
from collections.abc import Iterable
from typing import Any, TypeAlias

from torch import Tensor

from fastclip.torch import _cuda, _stock, _tensors

_TensorOrTensors: TypeAlias = Tensor | Iterable[Tensor]


def _as_list(tensors: _TensorOrTensors) -> list[Any]:
    return [tensors] if isinstance(tensors, Tensor) else tensors if type(tensors) is list else list(tensors)


def _verbs(given: list[Any]) -> Any:
    return _cuda if _cuda.serves(given) else _tensors


def clip_grad_norm_(
    parameters: _TensorOrTensors,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Clip gradients in place so that the norm of all of them as one vector is at most `max_norm`.

    Each gradient is multiplied by min(1, max_norm / (norm + 1e-6)), formed in the dtype of the norm as PyTorch forms
    it. Gradients on a CPU of dtype float16, bfloat16, float32 and float64, of any strides, are read and written by
    fastclip, and so are dense ones on a GPU where CuPy is installed, for the norm of order 2, in two launches.
    PyTorch's own function does everything else.

    What differs from PyTorch's: a norm of order 2, 1 or infinity is within an ULP of float32 of the exact one (float64:
    4 of its own) before it is rounded to its dtype (PyTorch's float32 norm is off by up to 2 % on large tensors), and
    finite gradients do not become 0 because their squares or their norm leave the range of the dtype. A parameter that
    is listed twice is counted and scaled once, and a tensor that is the gradient of two parameters is scaled once.
    Within the limit nothing is written, and no version counter moves (on a GPU they do, since nobody waits for the norm
    unless `error_if_nonfinite`).

    Args:
        parameters: an iterable of tensors, or one; their `grad` is clipped, where they have one.
        max_norm: the limit. Infinity clips nothing; a negative limit turns the gradients round, as in PyTorch.
        norm_type: the p of the norm; 2, 1 and infinity are fast, PyTorch computes the others.
        error_if_nonfinite: raise if the norm is infinite or NaN, and write nothing. Otherwise an infinite norm makes
            zeros of finite entries and NaN of infinite ones, NaN makes all of them NaN. A float64 norm whose square
            leaves the range counts as infinite here.
        foreach: for what PyTorch does.

    Returns:
        The norm before clipping, a tensor of no dimensions, of the dtype that the gradients' are promoted to.

    Raises:
        RuntimeError: see `error_if_nonfinite`; and what PyTorch raises, such as for gradients of integers.
        AttributeError: something listed has no `grad`.

    Source: `torch.nn.utils.clip_grad_norm_`.

    Example:
        >>> import torch, fastclip.torch
        >>> weight = torch.nn.Parameter(torch.zeros(2))
        >>> weight.grad = torch.tensor([3e20, 4e20])
        >>> fastclip.torch.clip_grad_norm_([weight], 1.0)  # PyTorch's own: inf, and zeros
        tensor(5.0000e+20)
        >>> weight.grad
        tensor([0.6000, 0.8000])
    """
    if _tensors.listened():
        return _stock.clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)  # type: ignore[no-any-return]
    given = _as_list(parameters)
    if not given and isinstance(parameters, types.GeneratorType):
        warnings.warn("`parameters` is an empty generator, no gradient clipping will occur.", stacklevel=2)
    norm_type, max_norm = float(norm_type), float(max_norm)
    answer = _verbs(given).clip(given, True, max_norm, norm_type, bool(error_if_nonfinite))
    if answer is NotImplemented:
        return _through_torch(given, max_norm, norm_type, error_if_nonfinite, foreach)
    norm, written = answer
    if written:
        _tensors.changed(written)
    elif written is None:
        _stock.refuse(norm_type)
    return norm  # type: ignore[no-any-return]


def _through_torch(
    parameters: list[Any], max_norm: float, norm_type: float, error_if_nonfinite: bool, foreach: bool | None
) -> Tensor:
    parameters = _tensors.distinct(parameters)
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm: Tensor = _stock.get_total_norm(gradients, norm_type, error_if_nonfinite, foreach)
    clip_grads_with_norm_(parameters, max_norm, norm, foreach)
    return norm


def clip_grads_with_norm_(
    parameters: _TensorOrTensors, max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Multiply gradients in place by min(1, max_norm / (total_norm + 1e-6)).

    Args:
        parameters: an iterable of tensors, or one; their `grad` is scaled, where they have one. A parameter that is
            listed twice is scaled once.
        max_norm: the limit, as for `clip_grad_norm_`.
        total_norm: the norm, a tensor. The coefficient is formed in its dtype; the products, and whether anything is
            written at all, are as with `clip_grad_norm_`.
        foreach: for what PyTorch does.

    Raises:
        AttributeError: something listed has no `grad`.

    Source: `torch.nn.utils.clip_grads_with_norm_`, whose bits the results have.

    Example:
        >>> import torch, fastclip.torch
        >>> weight = torch.nn.Parameter(torch.zeros(2))
        >>> weight.grad = torch.tensor([3.0, 4.0])
        >>> fastclip.torch.clip_grads_with_norm_(weight, 2.5, torch.tensor(5.0))
        >>> weight.grad
        tensor([1.5000, 2.0000])
    """
    if _tensors.listened():
        return _stock.clip_grads_with_norm_(parameters, max_norm, total_norm, foreach)  # type: ignore[no-any-return]
    given = _as_list(parameters)
    max_norm = float(max_norm)
    code = _tensors.CODES.get(total_norm.dtype) if type(total_norm) is Tensor and total_norm.ndim == 0 else None
    written = NotImplemented
    if code is not None and _cuda.serves(given):
        written = _cuda.scale(given, True, max_norm, total_norm, code)
    elif code is not None and total_norm.device == _tensors.CPU:
        written = _tensors.scale(given, True, max_norm, total_norm.item(), code)
    if written is not NotImplemented:
        return _tensors.changed(written)
    _stock.clip_grads_with_norm_(_tensors.distinct(given), max_norm, total_norm, foreach)


def get_total_norm(
    tensors: _TensorOrTensors,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Compute the norm of all elements of tensors as one vector.

    Args:
        tensors: an iterable of tensors, or one. One that is listed twice is counted twice.
        norm_type: the p of the norm; 2, 1 and infinity are fast, PyTorch computes the others.
        error_if_nonfinite: raise if the norm is infinite or NaN. A float64 norm whose square leaves the range counts
            as infinite here.
        foreach: for what PyTorch does.

    Returns:
        The norm, a tensor of no dimensions, of the dtype that the tensors' are promoted to, as right as that of
        `clip_grad_norm_`.

    Raises:
        RuntimeError: see `error_if_nonfinite`; and what PyTorch raises.

    Source: `torch.nn.utils.get_total_norm`.

    Example:
        >>> import torch, fastclip.torch
        >>> fastclip.torch.get_total_norm([torch.tensor([3.0]), torch.tensor(4.0)])
        tensor(5.)
    """
    if _tensors.listened():
        return _stock.get_total_norm(tensors, norm_type, error_if_nonfinite, foreach)  # type: ignore[no-any-return]
    given = _as_list(tensors)
    norm_type = float(norm_type)
    if _cuda.serves(given):
        answer = _cuda.norm(given, False, norm_type, bool(error_if_nonfinite))
    else:
        answer = _tensors.norm(given, False, norm_type)
    if answer is NotImplemented:
        return _stock.get_total_norm(given, norm_type, error_if_nonfinite, foreach)  # type: ignore[no-any-return]
    norm, finite, *_ = answer
    if error_if_nonfinite and not finite:
        _stock.refuse(norm_type)
    return norm  # type: ignore[no-any-return]


def clip_grad_norm(
    parameters: _TensorOrTensors,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Clip gradients as `clip_grad_norm_` does, whose deprecated name in PyTorch this is.

    Args:
        parameters: as there.
        max_norm: as there.
        norm_type: as there.
        error_if_nonfinite: as there.
        foreach: as there.

    Returns:
        The norm before clipping.

    Example:
        >>> import warnings, torch, fastclip.torch
        >>> with warnings.catch_warnings(action="ignore", category=FutureWarning):
        ...     fastclip.torch.clip_grad_norm(torch.zeros(1), 1.0)
        tensor(0.)
    """
    warnings.warn(
        "`torch.nn.utils.clip_grad_norm` is now deprecated in favor of `torch.nn.utils.clip_grad_norm_`.",
        FutureWarning,
        stacklevel=2,
    )
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


def clip_grad_value_(parameters: _TensorOrTensors, clip_value: float, foreach: bool | None = None) -> None:
    """Clip every entry of gradients to [-clip_value, clip_value], in place.

    Args:
        parameters: an iterable of tensors, or one; their `grad` is clipped, where they have one.
        clip_value: the bound. NaN among the gradients stays NaN; a bound of NaN makes all of them NaN.
        foreach: for what PyTorch does.

    Raises:
        RuntimeError: what PyTorch raises, such as for no gradients at all, or for a bound that float16 can't hold.
        AttributeError: something listed has no `grad`.

    Source: `torch.nn.utils.clip_grad_value_`, whose bits the results have.

    Example:
        >>> import torch, fastclip.torch
        >>> weight = torch.nn.Parameter(torch.zeros(2))
        >>> weight.grad = torch.tensor([3.0, -4.0])
        >>> fastclip.torch.clip_grad_value_(weight, 3.5)
        >>> weight.grad
        tensor([ 3.0000, -3.5000])
    """
    if _tensors.listened():
        return _stock.clip_grad_value_(parameters, clip_value, foreach)  # type: ignore[no-any-return]
    given = _as_list(parameters)
    clip_value = float(clip_value)
    written = _verbs(given).clamp(given, True, clip_value)
    if written is NotImplemented:
        _stock.clip_grad_value_(given, clip_value, foreach)
    else:
        _tensors.changed(written)
