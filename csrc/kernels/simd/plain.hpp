// SPDX-License-Identifier: BSD-3-Clause
// The operations that the kernels are written in, as plain loops: for every CPU, and the text that an ISA's own
// header must agree with to the bit. Loads and stores take any address.
#pragma once

#include <cstdint>

namespace fastclip {
namespace {

struct Plain {
    static constexpr int kF64 = 4;  // f64 elements of one vector
    static constexpr int kF32 = 8;  // f32 elements of one vector

    struct F64 {
        double v[kF64];
    };
    struct F32 {
        float v[kF32];
    };

    template <class Op>
    static F64 map(Op op) {
        F64 r;
        for (int i = 0; i < kF64; ++i) r.v[i] = op(i);
        return r;
    }
    template <class Op>
    static F32 map32(Op op) {
        F32 r;
        for (int i = 0; i < kF32; ++i) r.v[i] = op(i);
        return r;
    }

    static F64 set(double x) {
        return map([=](int) { return x; });
    }
    static F64 load(const double* p) {
        return map([=](int i) { return p[i]; });
    }
    static F64 widen(const float* p) {
        return map([=](int i) { return static_cast<double>(p[i]); });
    }
    // the first `count` elements, 0 for the others, of which no byte is read
    static F64 widen_first(const float* p, int count) {
        return map([=](int i) { return i < count ? static_cast<double>(p[i]) : 0.0; });
    }
    static double sum_by_halves(F64 a) { return (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]); }
    static void store(double* p, F64 a) {
        for (int i = 0; i < kF64; ++i) p[i] = a.v[i];
    }
    static F64 load_first(const double* p, int count) {
        return map([=](int i) { return i < count ? p[i] : 0.0; });
    }
    static void store_first(double* p, F64 a, int count) {
        for (int i = 0; i < count; ++i) p[i] = a.v[i];
    }
    static void narrow_first(float* p, F64 a, int count) {
        for (int i = 0; i < count; ++i) p[i] = static_cast<float>(a.v[i]);
    }
    static void narrow(float* p, F64 a) {
        for (int i = 0; i < kF64; ++i) p[i] = static_cast<float>(a.v[i]);
    }
    static F64 add(F64 a, F64 b) {
        return map([&](int i) { return a.v[i] + b.v[i]; });
    }
    static F64 sub(F64 a, F64 b) {
        return map([&](int i) { return a.v[i] - b.v[i]; });
    }
    static F64 mul(F64 a, F64 b) {
        return map([&](int i) { return a.v[i] * b.v[i]; });
    }
    static F64 hidden_one() { return set(1.0); }
    static F64 fma_sub(F64 a, F64, F64 b) { return sub(a, b); }
    static F64 abs(F64 a) {
        return map([&](int i) { return __builtin_fabs(a.v[i]); });
    }
    // a + x * x for products that are exact in f64, where a fused and a separate addition give the same bits
    static F64 add_exact_square(F64 a, F64 x) { return add(a, mul(x, x)); }
    // x * x - p for p = RN(x * x), exact: Veltkamp's split and Dekker's product (1971)
    static F64 square_error(F64 x, F64 p) {
        return map([&](int i) {
            double t = x.v[i] * 134217729.0;  // 2^27 + 1
            double hi = t - (t - x.v[i]), lo = x.v[i] - hi;
            return ((hi * hi - p.v[i]) + 2.0 * hi * lo) + lo * lo;
        });
    }
    static F64 zero_unless_ge(F64 a, F64 p, double least) {  // a where p >= least, else 0
        return map([&](int i) { return p.v[i] >= least ? a.v[i] : 0.0; });
    }
    // TensorFlow's order, in which lo wins over hi. NaN in v stays, and so does -0 against a bound of 0.
    static F64 clamp(F64 v, F64 lo, F64 hi) {
        return map([&](int i) {
            double x = hi.v[i] < v.v[i] ? hi.v[i] : v.v[i];
            return lo.v[i] > x ? lo.v[i] : x;
        });
    }

    static F32 set32(float x) {
        return map32([=](int) { return x; });
    }
    static F32 load(const float* p) {
        return map32([=](int i) { return p[i]; });
    }
    static void store(float* p, F32 a) {
        for (int i = 0; i < kF32; ++i) p[i] = a.v[i];
    }
    static F32 load_first(const float* p, int count) {
        return map32([=](int i) { return i < count ? p[i] : 0.0f; });
    }
    static void store_first(float* p, F32 a, int count) {
        for (int i = 0; i < count; ++i) p[i] = a.v[i];
    }
    static F32 mul(F32 a, F32 b) {
        return map32([&](int i) { return a.v[i] * b.v[i]; });
    }
    static F32 clamp(F32 v, F32 lo, F32 hi) {
        return map32([&](int i) {
            float x = hi.v[i] < v.v[i] ? hi.v[i] : v.v[i];
            return lo.v[i] > x ? lo.v[i] : x;
        });
    }
};

}  // namespace
}  // namespace fastclip
