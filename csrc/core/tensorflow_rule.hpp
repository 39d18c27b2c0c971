// SPDX-License-Identifier: BSD-3-Clause
// TensorFlow's coefficient, clip_norm * min(1 / norm, 1 / clip_norm), in the dtype of the norm, every operation rounded
// to it as TensorFlow does: f16 and bf16 by way of f32. Where that has no answer (a norm or a limit that the dtype
// can't hold, a reciprocal that it can't) it is clip_norm / norm in f64.
#pragma once

#include <cfloat>
#include <cmath>

#include "core/rounding.hpp"

namespace fastclip {
namespace {

template <class T>  // Half, Brain or float
double tensorflow_quotient(float norm, float limit) {
    return static_cast<double>(rounded<T>(limit * rounded<T>(1.0f / norm)));
}

inline double tensorflow_quotient(DType dtype, double norm, double limit) {
    const auto n = static_cast<float>(norm), l = static_cast<float>(limit);
    switch (dtype) {
        case DType::f16:
            return tensorflow_quotient<Half>(n, l);
        case DType::bf16:
            return tensorflow_quotient<Brain>(n, l);
        case DType::f32:
            return tensorflow_quotient<float>(n, l);
        default:
            return limit * (1.0 / norm);
    }
}

inline double smallest_normal(DType dtype) {
    constexpr double kSmallest[] = {0x1p-14, 0x1p-126, 0x1p-126, DBL_MIN};  // in the order of DType
    return kSmallest[static_cast<int>(dtype)];
}

// 1: within the limit, or a negative one, by which TensorFlow clips nothing. NaN for a norm that is not finite.
inline double tensorflow_coefficient(DType dtype, double norm, double limit) {
    if (!std::isfinite(norm) || std::isnan(limit)) return NAN;
    const double n = round_to_dtype(dtype, norm), l = round_to_dtype(dtype, limit);
    if (limit < 0.0 || norm <= limit || (std::isfinite(n) && n <= l)) return 1.0;
    if (std::isfinite(n) && std::isfinite(l) && n >= smallest_normal(dtype)) {
        const double c = tensorflow_quotient(dtype, n, l);
        if (std::isfinite(c) && c >= smallest_normal(dtype)) return c;
    }
    return limit / norm;
}

}  // namespace
}  // namespace fastclip
