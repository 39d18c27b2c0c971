# SPDX-License-Identifier: BSD-3-Clause
"""What each clipping function does with a norm: records and formulas, no arrays."""

from fastclip._rules.evaluator import Coefficient, Norm, coefficient, norm_of
from fastclip._rules.global_norm import GLOBAL_NORM, POLICIES
from fastclip._rules.record import Rule
from fastclip._rules.tensor_norm import AVERAGE_NORM, TENSOR_NORM

__all__ = [
    "AVERAGE_NORM",
    "GLOBAL_NORM",
    "POLICIES",
    "TENSOR_NORM",
    "Coefficient",
    "Norm",
    "Rule",
    "coefficient",
    "norm_of",
]
