# SPDX-License-Identifier: BSD-3-Clause
"""One large parameter, whose gradient's norm is 10, and an optimizer that subtracts the gradient."""

import pytest
import torch
from torch.optim import SGD
from torchcases import F32, parameter

LARGE = (1000, 1000)


def weight(value=0.01, shape=LARGE, dtype=F32):
    made = parameter(torch.full(shape, value, dtype=dtype))
    made.data.zero_()
    return made


def descent(*parameters, fused=True, **more):
    return SGD(parameters, lr=1.0, fused=fused, **more)


def scaler(scale):
    made = torch.amp.GradScaler("cpu", init_scale=scale)
    made.scale(torch.ones(()))
    return made


def moved(p):
    """By how much the first element went down."""
    return -p.detach().reshape(-1)[0].item()


def about(value, dtype=F32):
    return pytest.approx(value, rel=4 * torch.finfo(dtype).eps)
