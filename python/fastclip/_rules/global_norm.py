# SPDX-License-Identifier: BSD-3-Clause
"""One coefficient for a whole list: limit / norm (Pascanu, Mikolov, Bengio 2013)."""

from fastclip._rules.record import Rule

#: propagate: as arithmetic has it, and as PyTorch and optax do: finite entries times 0 for an infinite norm, else NaN
#: nan: every entry becomes NaN, as TensorFlow does
#: raise: FloatingPointError, nothing is written
#: skip: nothing is written
#: zero: non-finite entries become 0, and the norm is that of the others
POLICIES = ("propagate", "nan", "raise", "skip", "zero")

GLOBAL_NORM = {policy: Rule(nonfinite=policy) for policy in POLICIES}
