// SPDX-License-Identifier: BSD-3-Clause
// Of the difference of two buffers, which is formed where it is needed and stored nowhere.
#pragma once

#include "kernels/reduce.hpp"
#include "kernels/transform.hpp"

namespace fastclip {
namespace {

// f16, bf16 and f32 are subtracted in f64, in the lanes and streams of sums.hpp. A difference has up to 53 bits, so its
// square is rounded: by a multiplication of its own on every ISA, or a fused one would give other bits.
template <class T>
Partial update_sumsq(const T* x, const T* y, std::int64_t n, double) {
    using V = WidenVec;
    Lanes lanes;
    const auto add = [&](int j, typename V::F64 a, typename V::F64 b) {
        const auto d = V::sub(a, b);
        lanes.acc[j] = V::add(lanes.acc[j], V::mul(d, d));
    };
    const std::int64_t length = stream_length<T>(n);
    for (std::int64_t i = 0; i < length; i += kStreamLanes) {
        FASTCLIP_UNROLL
        for (int j = 0; j < Lanes::kRegs; ++j) {
            const std::int64_t at = j / Lanes::kStreamRegs * length + i + j % Lanes::kStreamRegs * V::kF64;
            add(j, V::widen(x + at), V::widen(y + at));
        }
    }
    std::int64_t i = kStreams * length;
    for (; i + kLanes <= n; i += kLanes) {
        FASTCLIP_UNROLL
        for (int j = 0; j < Lanes::kRegs; ++j) add(j, V::widen(x + i + j * V::kF64), V::widen(y + i + j * V::kF64));
    }
    const int rest = static_cast<int>(n - i);
    FASTCLIP_UNROLL
    for (int j = 0; j < Lanes::kRegs; ++j) {
        const int at = j * V::kF64, count = least(rest - at, V::kF64);
        if (at < rest) add(j, V::widen_first(x + i + at, count), V::widen_first(y + i + at, count));
    }
    return {V::sum_by_halves(fold<V>(lanes.acc)), 0.0};
}

// What a term of a sum over f64 is made of: before the subtraction where the difference may leave the range, after it
// where it is too small.
struct Scales {
    double before, after;
};
Scales scales(double scale) { return scale < 1.0 ? Scales{scale, 1.0} : Scales{1.0, scale}; }

Partial update_sumsq(const double* x, const double* y, std::int64_t n, double scale) {
    const auto before = Vec::set(scales(scale).before), after = Vec::set(scales(scale).after);
    const auto difference = [=](Vec::F64 a, Vec::F64 b) {
        return Vec::mul(Vec::sub(Vec::mul(a, before), Vec::mul(b, before)), after);
    };
    return sum<Square64>(
        n, [=](std::int64_t i) { return difference(Vec::load(x + i), Vec::load(y + i)); },
        [=](std::int64_t i, int count) {
            return difference(Vec::load_first(x + i, count), Vec::load_first(y + i, count));
        });
}

template <class As, class Op>  // x = op(x, y)
void combine(typename As::T* x, const typename As::T* y, std::int64_t n, Walk walk, Op op) {
    transform<As>(x, x, n, walk, [=](typename As::V a, std::int64_t i, int count) {
        return op(a, count == As::kWidth ? As::load(y + i) : As::load_first(y + i, count));
    });
}

template <class T>  // Half, Brain or float
void scale_update(T* x, const T* y, std::int64_t n, const Product& c, Walk walk) {
    if (c.use_plain) {
        const auto by = Vec::set(c.plain);
        combine<Widened<T>>(x, y, n, walk,
                            [=](Vec::F64 a, Vec::F64 b) { return Vec::add(b, Vec::mul(Vec::sub(a, b), by)); });
    } else {
        const auto by = narrow_factor(c);
        combine<AsF32<T>>(x, y, n, walk,
                          [=](Vec::F32 a, Vec::F32 b) { return Vec::add(b, Vec::mul(Vec::sub(a, b), by)); });
    }
}

void scale_update(double* x, const double* y, std::int64_t n, const Product& c, Walk walk) {
    const auto pre = Vec::set(c.pre), factor = Vec::set(c.factor);
    combine<AsF64>(x, y, n, walk, [=](Vec::F64 a, Vec::F64 b) {
        return Vec::add(b, Vec::mul(Vec::sub(Vec::mul(a, pre), Vec::mul(b, pre)), factor));
    });
}

template <class T>
void drop_nonfinite_update(T* x, const T* y, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i)
        if (magnitude_bits(x + i) >= BitsOf<T>::kInfinity) x[i] = y[i];
}

}  // namespace
}  // namespace fastclip
