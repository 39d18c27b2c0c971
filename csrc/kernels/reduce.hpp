// SPDX-License-Identifier: BSD-3-Clause
// Statistics by the bits: without the sign, they order as 0 < finite < infinity < NaN.
#pragma once

#include "core/convert.hpp"
#include "kernels/sums.hpp"
#include "kernels/sums_f64.hpp"

namespace fastclip {
namespace {

template <class T>
struct BitsOf;
template <>
struct BitsOf<Half> {
    using Int = std::int16_t;
    static constexpr Int kMagnitude = 0x7fff, kInfinity = 0x7c00;
};
template <>
struct BitsOf<Brain> {
    using Int = std::int16_t;
    static constexpr Int kMagnitude = 0x7fff, kInfinity = 0x7f80;
};
template <>
struct BitsOf<float> {
    using Int = std::int32_t;
    static constexpr Int kMagnitude = 0x7fffffff, kInfinity = 0x7f800000;
};
template <>
struct BitsOf<double> {
    using Int = std::int64_t;
    static constexpr Int kMagnitude = 0x7fffffffffffffff, kInfinity = 0x7ff0000000000000;
};

template <class T>
typename BitsOf<T>::Int magnitude_bits(const T* x) {
    typename BitsOf<T>::Int b;
    __builtin_memcpy(&b, x, sizeof b);
    return static_cast<typename BitsOf<T>::Int>(b & BitsOf<T>::kMagnitude);
}

double value_of(double x) { return x; }
template <class T>  // Half, Brain or float
double value_of(T x) {
    return static_cast<double>(to_f32(x));
}

template <class T>
double maxabs(const T* x, std::int64_t n) {
    typename BitsOf<T>::Int most = 0;
    for (std::int64_t i = 0; i < n; ++i) {
        const auto b = magnitude_bits(x + i);
        most = most < b ? b : most;
    }
    T r;
    __builtin_memcpy(&r, &most, sizeof r);
    return value_of(r);
}

inline constexpr std::int64_t kCountable = 32767;  // elements whose count fits 16 bits

template <class T>
Counts counts(const T* x, std::int64_t n) {
    using Int = typename BitsOf<T>::Int;  // counts of the elements' width, so that the loop vectorises
    Counts total = {0, 0};
    for (std::int64_t i = 0; i < n;) {
        const std::int64_t end = n - i > kCountable ? i + kCountable : n;
        Int nonfinite = 0, zeros = 0;
        for (; i < end; ++i) {
            const Int b = magnitude_bits(x + i);
            nonfinite = static_cast<Int>(nonfinite + (b >= BitsOf<T>::kInfinity));
            zeros = static_cast<Int>(zeros + (b == 0));
        }
        total.nonfinite += nonfinite;
        total.zeros += zeros;
    }
    return total;
}

}  // namespace
}  // namespace fastclip
