// SPDX-License-Identifier: BSD-3-Clause
// Sums over f64. Every lane is a pair hi + lo. lo takes the error of each addition (Knuth's two-sum) and of the square
// itself, so that the total is good to about 2^-100 and the norm, after one rounding, is as good as exact.
//
// Element i goes to lane i % 8; at the end the lanes are folded in halves.
#pragma once

#include "kernels/lanes.hpp"

namespace fastclip {
namespace {

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

template <class Term, class Load,
          class LoadFirst>  // load(index) gives a vector, load_first(index, count) its beginning
Partial sum(std::int64_t n, Load load, LoadFirst load_first) {
    using V = Vec;
    constexpr int kRegs = kLanesF64 / V::kF64;
    const typename V::F64 one = V::hidden_one();
    typename V::F64 hi[kRegs], lo[kRegs];
    FASTCLIP_UNROLL
    for (int j = 0; j < kRegs; ++j) hi[j] = lo[j] = V::set(0.0);
    const auto add = [&](int j, typename V::F64 v) {
        typename V::F64 error;
        const auto term = Term::template term<V>(v, error);
        const auto s = V::add(hi[j], term), back = V::sub(s, hi[j]);
        error = V::add(error, V::add(V::sub(hi[j], V::fma_sub(s, one, back)), V::fma_sub(term, one, back)));
        lo[j] = V::add(lo[j], error);
        hi[j] = s;
    };
    std::int64_t i = 0;
    for (; i + kLanesF64 <= n; i += kLanesF64) {
        FASTCLIP_UNROLL
        for (int j = 0; j < kRegs; ++j) add(j, load(i + j * V::kF64));
    }
    const int rest = static_cast<int>(n - i);
    FASTCLIP_UNROLL
    for (int j = 0; j < kRegs; ++j) {
        if (j * V::kF64 < rest) add(j, load_first(i + j * V::kF64, least(rest - j * V::kF64, V::kF64)));
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

template <class Term>
Partial sum(const double* x, std::int64_t n, double scale) {
    const auto by = Vec::set(scale);
    return sum<Term>(
        n, [=](std::int64_t i) { return Vec::mul(Vec::load(x + i), by); },
        [=](std::int64_t i, int count) { return Vec::mul(Vec::load_first(x + i, count), by); });
}

Partial sumsq(const double* x, std::int64_t n, double scale) { return sum<Square64>(x, n, scale); }
Partial sumabs(const double* x, std::int64_t n) { return sum<Magnitude64>(x, n, 1.0); }

}  // namespace
}  // namespace fastclip
