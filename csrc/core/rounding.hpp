// SPDX-License-Identifier: BSD-3-Clause
// Numbers of a dtype, held in f32 or f64: what other libraries' rules compute with.
#pragma once

#include "core/convert.hpp"

namespace fastclip {
namespace {

inline double widened(double x) { return x; }
template <class T>
double widened(T x) {
    return static_cast<double>(to_f32(x));
}

template <class T>
float rounded(float x) {
    T narrow;
    round_to(narrow, x);
    return to_f32(narrow);
}

// A number of the dtype, in one rounding.
inline double round_to_dtype(DType dtype, double x) {
    switch (dtype) {
#define FASTCLIP_ROUND(tag, type, bits, largest) \
    case DType::tag: {                           \
        type rounded;                            \
        round_once(rounded, x);                  \
        return widened(rounded);                 \
    }
        FASTCLIP_DTYPES(FASTCLIP_ROUND)
#undef FASTCLIP_ROUND
        case DType::count_:
            break;
    }
    return x;
}

}  // namespace
}  // namespace fastclip
