// SPDX-License-Identifier: BSD-3-Clause
// One read of a buffer to one number.
//
// Element i goes to lane i % kLanes; at the end the lanes are folded in halves. The order of additions therefore
// depends on n alone and not on the register width, so every ISA returns the same bits.
#pragma once

#include "kernels/lanes.hpp"

namespace fastclip {
namespace {

// ---- f32: terms in f64. A square is exact there, nothing over- or underflows, and 1,024 additions a lane and
// ---- chunk stay below 2^-43 of the sum: 2^19 times finer than f32.

inline constexpr int kLanesF32 = 32;  // 8 AVX2 registers: the latency of an addition times its throughput

struct Square32 {
    template <class V>
    static typename V::F64 add(typename V::F64 sum, typename V::F64 x) {
        return V::add_exact_square(sum, x);
    }
};
struct Magnitude32 {
    template <class V>
    static typename V::F64 add(typename V::F64 sum, typename V::F64 x) {
        return V::add(sum, V::abs(x));
    }
};

template <class V, int kRegs>
typename V::F64 fold(const typename V::F64 (&acc)[kRegs]) {
    if constexpr (kRegs == 1) {
        return acc[0];
    } else {
        typename V::F64 half[kRegs / 2];
        FASTCLIP_UNROLL
        for (int j = 0; j < kRegs / 2; ++j) half[j] = V::add(acc[j], acc[j + kRegs / 2]);
        return fold<V>(half);
    }
}

template <class Term>
Partial sum(const float* x, std::int64_t n) {
    using V = WidenVec;
    constexpr int kRegs = kLanesF32 / V::kF64;
    typename V::F64 acc[kRegs];
    FASTCLIP_UNROLL
    for (int j = 0; j < kRegs; ++j) acc[j] = V::set(0.0);
    for (; n >= kLanesF32; n -= kLanesF32, x += kLanesF32) {
        FASTCLIP_UNROLL
        for (int j = 0; j < kRegs; ++j) acc[j] = Term::template add<V>(acc[j], V::widen(x + j * V::kF64));
    }
    const int rest = static_cast<int>(n);  // absent elements count as 0, which changes no bit of a sum
    FASTCLIP_UNROLL
    for (int j = 0; j < kRegs; ++j) {
        if (j * V::kF64 < rest)
            acc[j] = Term::template add<V>(acc[j], V::widen_first(x + j * V::kF64, least(rest - j * V::kF64, V::kF64)));
    }
    return {V::sum_by_halves(fold<V>(acc)), 0.0};
}

Partial sumsq(const float* x, std::int64_t n, double) { return sum<Square32>(x, n); }
Partial sumabs(const float* x, std::int64_t n) { return sum<Magnitude32>(x, n); }

// ---- f64: every lane is a pair hi + lo. lo takes the error of each addition (Knuth's two-sum) and of the square
// ---- itself, so that the total is good to about 2^-100 and the norm, after one rounding, is as good as exact.

inline constexpr int kLanesF64 = 8;

struct Square64 {
    template <class V>
    static typename V::F64 term(typename V::F64 x, typename V::F64& error) {
        typename V::F64 p = V::mul(x, x);
        error = V::zero_unless_ge(V::square_error(x, p), p, kSquareErrorMin);
        return p;
    }
};
struct Magnitude64 {
    template <class V>
    static typename V::F64 term(typename V::F64 x, typename V::F64& error) {
        error = V::set(0.0);
        return V::abs(x);
    }
};

template <class Term>
Partial sum(const double* x, std::int64_t n, double scale) {
    using V = Vec;
    constexpr int kRegs = kLanesF64 / V::kF64;
    const typename V::F64 by = V::set(scale);
    const typename V::F64 one = V::hidden_one();
    typename V::F64 hi[kRegs], lo[kRegs];
    FASTCLIP_UNROLL
    for (int j = 0; j < kRegs; ++j) hi[j] = lo[j] = V::set(0.0);
    const auto add = [&](int j, typename V::F64 v) {
        typename V::F64 error;
        const auto term = Term::template term<V>(V::mul(v, by), error);
        const auto s = V::add(hi[j], term), back = V::sub(s, hi[j]);
        error = V::add(error, V::add(V::sub(hi[j], V::fma_sub(s, one, back)), V::fma_sub(term, one, back)));
        lo[j] = V::add(lo[j], error);
        hi[j] = s;
    };
    for (; n >= kLanesF64; n -= kLanesF64, x += kLanesF64) {
        FASTCLIP_UNROLL
        for (int j = 0; j < kRegs; ++j) add(j, V::load(x + j * V::kF64));
    }
    const int rest = static_cast<int>(n);
    FASTCLIP_UNROLL
    for (int j = 0; j < kRegs; ++j) {
        if (j * V::kF64 < rest) add(j, V::load_first(x + j * V::kF64, least(rest - j * V::kF64, V::kF64)));
    }
    double h[kLanesF64], l[kLanesF64];
    FASTCLIP_UNROLL
    for (int j = 0; j < kRegs; ++j) {
        V::store(h + j * V::kF64, hi[j]);
        V::store(l + j * V::kF64, lo[j]);
    }
    for (int w = kLanesF64 / 2; w >= 1; w /= 2) {
        for (int j = 0; j < w; ++j) {
            const Sum s = two_sum(h[j], h[j + w]);
            h[j] = s.hi;
            l[j] = (l[j] + l[j + w]) + s.lo;
        }
    }
    return {h[0], is_finite(h[0]) ? l[0] : 0.0};
}

Partial sumsq(const double* x, std::int64_t n, double scale) { return sum<Square64>(x, n, scale); }
Partial sumabs(const double* x, std::int64_t n) { return sum<Magnitude64>(x, n, 1.0); }

// ---- by the bits: without the sign, they order as 0 < finite < infinity < NaN

template <class T>
struct BitsOf;
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
    return b & BitsOf<T>::kMagnitude;
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
    return static_cast<double>(r);
}

template <class T>
Counts counts(const T* x, std::int64_t n) {
    typename BitsOf<T>::Int nonfinite = 0, zeros = 0;  // of the elements' width, so that the loop vectorises
    Counts total = {0, 0};
    for (std::int64_t i = 0; i < n;) {
        const std::int64_t end = n - i > (1 << 30) ? i + (1 << 30) : n;
        nonfinite = zeros = 0;
        for (; i < end; ++i) {
            const auto b = magnitude_bits(x + i);
            nonfinite += b >= BitsOf<T>::kInfinity;
            zeros += b == 0;
        }
        total.nonfinite += nonfinite;
        total.zeros += zeros;
    }
    return total;
}

inline constexpr std::int64_t kBlock = 256;  // elements looked at before a branch

template <class T>
std::int64_t first_outside(const T* x, std::int64_t n, double lo_, double hi_) {
    const T lo = static_cast<T>(lo_), hi = static_cast<T>(hi_);
    for (std::int64_t i = 0; i < n; i += kBlock) {
        const std::int64_t end = n - i > kBlock ? i + kBlock : n;
        typename BitsOf<T>::Int outside = 0;
        for (std::int64_t j = i; j < end; ++j) outside |= (x[j] < lo) | (x[j] > hi);
        if (outside) return i;
    }
    return n;
}

}  // namespace
}  // namespace fastclip
