// SPDX-License-Identifier: BSD-3-Clause
// torch.nn.utils' coefficient, min(1, max_norm / (norm + 1e-6)), in the dtype of the norm, every operation rounded to
// it as PyTorch does: f16 and bf16 by way of f32, and max_norm / x as 1 / x * max_norm.
#pragma once

#include "core/rounding.hpp"

namespace fastclip {
namespace {

inline double at_most_one(double c) { return c > 1.0 ? 1.0 : c; }  // NaN stays

inline double torch_coefficient_f64(double norm, double max_norm) {
    return at_most_one(1.0 / (norm + 1e-6) * max_norm);
}

template <class T>  // Half, Brain or float
double torch_coefficient_narrow(float norm, double max_norm) {
    const float sum = rounded<T>(norm + rounded<T>(1e-6f));
    return at_most_one(static_cast<double>(rounded<T>(rounded<T>(1.0f / sum) * static_cast<float>(max_norm))));
}

// `norm` is a number of the dtype.
inline double torch_coefficient(DType dtype, double norm, double max_norm) {
    switch (dtype) {
        case DType::f16:
            return torch_coefficient_narrow<Half>(static_cast<float>(norm), max_norm);
        case DType::bf16:
            return torch_coefficient_narrow<Brain>(static_cast<float>(norm), max_norm);
        case DType::f32:
            return torch_coefficient_narrow<float>(static_cast<float>(norm), max_norm);
        default:
            return torch_coefficient_f64(norm, max_norm);
    }
}

}  // namespace
}  // namespace fastclip
