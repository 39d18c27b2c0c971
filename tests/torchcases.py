# SPDX-License-Identifier: BSD-3-Clause
"""Parameters with gradients, and PyTorch's own functions to compare with."""

import copy
import math
from fractions import Fraction

import pytest
import torch
from torch.nn.utils import clip_grad as stock

import fastclip.torch as ours

F16, BF16, F32, F64 = DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
LISTS = {
    **{str(dtype).removeprefix("torch."): [dtype] * 3 for dtype in DTYPES},
    "f32 f16": [F32, F16, F32],
    "f16 bf16": [F16, BF16],
    "f32 f64": [F32, F64, F32],
    "all": list(DTYPES),
}
SHAPES = [(3, 5), (), (130,), (7, 1, 9), (0,), (64, 33)]


def parameter(gradient):
    made = torch.nn.Parameter(torch.zeros_like(gradient, memory_format=torch.contiguous_format))
    made.grad = gradient
    return made


def parameters(dtypes=(F32,), scale=1.0, shapes=SHAPES):
    """One parameter for each shape, the dtypes in turn."""
    return [
        parameter((torch.randn(shape, dtype=F64) * scale).to(dtypes[i % len(dtypes)])) for i, shape in enumerate(shapes)
    ]


def twice(given):
    """The parameters, and the same again with gradients of their own."""
    again = [parameter(copy.deepcopy(p.grad)) if p.grad is not None else torch.nn.Parameter(p.detach()) for p in given]
    for p, q in zip(given, again, strict=True):
        if p.grad is not None:
            assert q.grad.stride() == p.grad.stride()
    return given, again


def bits(given):
    """The gradients' bits, those of NaN aside."""
    kinds = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    return [
        torch.where(g.isnan(), -1, g.contiguous().view(kinds[g.element_size()])).tolist()
        for g in (p.grad for p in given)
        if g is not None
    ]


def exact_norm(tensors):
    """The norm as a float, to the last bits: squares and their sum are exact."""
    total = sum((Fraction(x) ** 2 for t in tensors for x in t.double().flatten().tolist()), Fraction(0))
    scale = 2 ** (2 * max(0, 60 - math.floor(math.log2(total)) // 2)) if total else 1
    return math.isqrt(math.floor(total * scale * 2**128)) / math.isqrt(scale * 2**128)


def total_dtype(tensors):
    dtype = tensors[0].dtype
    for t in tensors:
        dtype = torch.promote_types(dtype, t.dtype)
    return dtype


STOCK = {
    "clip_grad_norm_": lambda given: stock.clip_grad_norm_(given, 0.5),
    "clip_grad_value_": lambda given: stock.clip_grad_value_(given, 0.5),
    "clip_grads_with_norm_": lambda given: stock._clip_grads_with_norm_(given, 0.5, torch.tensor(3.0)),
}
OURS = {
    "clip_grad_norm_": lambda given: ours.clip_grad_norm_(given, 0.5),
    "clip_grad_value_": lambda given: ours.clip_grad_value_(given, 0.5),
    "clip_grads_with_norm_": lambda given: ours.clip_grads_with_norm_(given, 0.5, torch.tensor(3.0)),
}
EACH = pytest.mark.parametrize("name", OURS)


def outcome(call, given):
    """What a call returns or raises."""
    try:
        answer = call(given)
    except Exception as error:
        return type(error), str(error)
    if answer is None:
        return None
    return answer.dtype, answer.shape, answer.device, pytest.approx(answer.item(), rel=1e-5)
