// SPDX-License-Identifier: BSD-3-Clause
// torch.nn.utils' coefficient, min(1, max_norm / (norm + 1e-6)), in the dtype of the norm, every operation rounded to
// it as PyTorch does: f16 and bf16 by way of f32, and max_norm / x as 1 / x * max_norm.
//
// Needs no standard header, like rule.hpp. Sums, products and quotients of two numbers of f32 are formed in f64, whose
// rounding the one to f32 hides: f64 has more than twice the digits. CuPy's -ftz=true does not reach them there.
#pragma once

#include "core/sum.hpp"

namespace fastclip {

FASTCLIP_DEVICE double at_most_one(double c) { return c > 1.0 ? 1.0 : c; }  // NaN stays

// `norm` is a number of the dtype, to which `to_dtype` rounds an f64 by way of f32; `max_norm` is one of f32.
template <class Round>
FASTCLIP_DEVICE double torch_coefficient_narrow(double norm, double max_norm, Round to_dtype) {
    const double sum = to_dtype(norm + to_dtype(1e-6));
    return at_most_one(to_dtype(to_dtype(1.0 / sum) * max_norm));
}

FASTCLIP_DEVICE double torch_coefficient_f64(double norm, double max_norm) {
    return at_most_one(1.0 / (norm + 1e-6) * max_norm);
}

}  // namespace fastclip
