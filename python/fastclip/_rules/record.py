# SPDX-License-Identifier: BSD-3-Clause
"""The record that tells one rule from another."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Rule:
    """One way to turn a norm and a limit into a coefficient."""

    nonfinite: str = "propagate"
    """What NaN and infinity among the elements lead to."""

    average: bool = False
    """The limit is for the norm divided by the number of elements."""

    slack: float = 2.0
    """A norm up to limit * (1 + slack * u) is within the limit, u being the coarsest unit roundoff in the list.

    Clipping leaves a norm of at most limit * (1 + 2u): one rounding of the coefficient, one of each element. With
    a slack of 2 what has been clipped is therefore never clipped again.
    """
