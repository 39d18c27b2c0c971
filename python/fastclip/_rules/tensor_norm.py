# SPDX-License-Identifier: BSD-3-Clause
"""Each array, or each row of it, by a norm of its own. Keys: in place, or out of place as TensorFlow does."""

from fastclip._rules.record import Rule

TENSOR_NORM = {"in place": Rule(nonfinite="propagate"), "out of place": Rule(nonfinite="nan")}
AVERAGE_NORM = {
    "in place": Rule(nonfinite="propagate", average=True),
    "out of place": Rule(nonfinite="nan", average=True),
}
