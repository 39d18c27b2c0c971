# SPDX-License-Identifier: BSD-3-Clause
"""PyTorch's own functions, held from before anybody replaces them, with the two that came with PyTorch 2.6."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.nn.utils import clip_grad

clip_grad_norm_: Callable[..., Any] = clip_grad.clip_grad_norm_
clip_grad_value_: Callable[..., Any] = clip_grad.clip_grad_value_


def refuse(norm_type: float) -> NoReturn:
    raise RuntimeError(
        f"The total norm of order {norm_type} for gradients from "
        "`parameters` is non-finite, so it cannot be clipped. To disable "
        "this error and scale the gradients by the non-finite norm anyway, "
        "set `error_if_nonfinite=False`"
    )


def _get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    given = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    if not given:
        return torch.tensor(0.0)
    norms = [torch.linalg.vector_norm(tensor, norm_type).to(given[0].device) for tensor in given]
    norm: Tensor = torch.linalg.vector_norm(torch.stack(norms), norm_type)
    if error_if_nonfinite and not norm.isfinite():
        refuse(norm_type)
    return norm


def _clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    coefficient = torch.clamp(float(max_norm) / (total_norm + 1e-6), max=1.0)
    with torch.no_grad():
        for gradient in [parameter.grad for parameter in given if parameter.grad is not None]:
            gradient.mul_(coefficient.to(gradient.device))


get_total_norm: Callable[..., Any] = getattr(clip_grad, "_get_total_norm", _get_total_norm)
clip_grads_with_norm_: Callable[..., Any] = getattr(clip_grad, "_clip_grads_with_norm_", _clip_grads_with_norm_)
