// SPDX-License-Identifier: BSD-3-Clause
// The operations that the kernels are written in, as plain loops: for every CPU, and the text that an ISA's own
// header must agree with to the bit. Loads and stores take any address.
#pragma once

#include <cstdint>

#include "core/convert.hpp"

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
    template <class T>  // Half, Brain or float
    static F64 widen(const T* p) {
        return map([=](int i) { return static_cast<double>(to_f32(p[i])); });
    }
    // the first `count` elements, 0 for the others, of which no byte is read
    template <class T>
    static F64 widen_first(const T* p, int count) {
        return map([=](int i) { return i < count ? static_cast<double>(to_f32(p[i])) : 0.0; });
    }
    static F64 widen_low(F32 a) {  // the first kF64 of the kF32 elements
        return map([&](int i) { return static_cast<double>(a.v[i]); });
    }
    static F64 widen_high(F32 a) {  // the others
        return map([&](int i) { return static_cast<double>(a.v[i + kF64]); });
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
    template <class T>
    static void narrow_first(T* p, F64 a, int count) {  // rounds to f32, then to T
        for (int i = 0; i < count; ++i) round_to(p[i], static_cast<float>(a.v[i]));
    }
    template <class T>
    static void narrow(T* p, F64 a) {
        narrow_first(p, a, kF64);
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
    template <class T>
    static F32 load(const T* p) {
        return map32([=](int i) { return to_f32(p[i]); });
    }
    static F32 load_even(const Brain* p) {  // every second one of 2 * kF32 elements
        return map32([=](int i) { return to_f32(p[2 * i]); });
    }
    static F32 load_odd(const Brain* p) {
        return map32([=](int i) { return to_f32(p[2 * i + 1]); });
    }
    struct Brains {  // 2 * kF32 elements
        F32 even, odd;
    };
    static void store_pairs(Brain* p, Brains a) {
        for (int i = 0; i < kF32; ++i) {
            round_to(p[2 * i], a.even.v[i]);
            round_to(p[2 * i + 1], a.odd.v[i]);
        }
    }
    static void store_pairs_past_cache(Brain* p, Brains a) { store_pairs(p, a); }
    // Of a NaN that is stored as bf16 the lower half must be 0, as it is in what came from bf16: rounding carries
    // nothing into the upper half then, and an ISA need not look for NaN.
    template <class T>
    static void store(T* p, F32 a) {
        store_first(p, a, kF32);
    }
    template <class T>
    static F32 load_first(const T* p, int count) {
        return map32([=](int i) { return i < count ? to_f32(p[i]) : 0.0f; });
    }
    template <class T>
    static void store_first(T* p, F32 a, int count) {
        for (int i = 0; i < count; ++i) round_to(p[i], a.v[i]);
    }
    // a + x * x, rounded once. x and the root of a have at most 11 bits (f16 or bf16): the sum is exact in f64, or the
    // larger term, which is no tie of f32, stands alone.
    static F32 add_square(F32 a, F32 x) {
        return map32([&](int i) {
            const double wide = x.v[i];
            return static_cast<float>(wide * wide + static_cast<double>(a.v[i]));
        });
    }
    static F32 add(F32 a, F32 b) {
        return map32([&](int i) { return a.v[i] + b.v[i]; });
    }
    static F32 sub(F32 a, F32 b) {
        return map32([&](int i) { return a.v[i] - b.v[i]; });
    }
    template <class T, class V>
    static void store_past_cache(T* p, V a) {  // aligned to the vector; `fence` afterwards
        store(p, a);
    }
    static void fence() {}
    static bool any_outside(const F32 (&v)[4], F32 lo, F32 hi) {
        bool any = false;
        for (int j = 0; j < 4; ++j)
            for (int i = 0; i < kF32; ++i) any |= (v[j].v[i] < lo.v[i]) | (v[j].v[i] > hi.v[i]);
        return any;
    }
    static bool any_outside(const F64 (&v)[4], F64 lo, F64 hi) {
        bool any = false;
        for (int j = 0; j < 4; ++j)
            for (int i = 0; i < kF64; ++i) any |= (v[j].v[i] < lo.v[i]) | (v[j].v[i] > hi.v[i]);
        return any;
    }
    static F32 mul(F32 a, F32 b) {
        return map32([&](int i) { return a.v[i] * b.v[i]; });
    }
    // NumPy's order, in which hi wins over lo, and NaN over both, be it in v or in a bound. On a tie of zeros the bound
    // is taken.
    static F64 clamp_between(F64 v, F64 lo, F64 hi) {
        return map([&](int i) {
            double x = v.v[i] > lo.v[i] || v.v[i] != v.v[i] ? v.v[i] : lo.v[i];
            return x < hi.v[i] || x != x ? x : hi.v[i];
        });
    }
    static F32 clamp_between(F32 v, F32 lo, F32 hi) {
        return map32([&](int i) {
            float x = v.v[i] > lo.v[i] || v.v[i] != v.v[i] ? v.v[i] : lo.v[i];
            return x < hi.v[i] || x != x ? x : hi.v[i];
        });
    }
    static F32 clamp_between_keeping_zero(F32 v, F32 lo, F32 hi) {  // the same, but v stays on a tie
        return map32([&](int i) {
            float x = lo.v[i] > v.v[i] || lo.v[i] != lo.v[i] ? lo.v[i] : v.v[i];
            return hi.v[i] < x || hi.v[i] != hi.v[i] ? hi.v[i] : x;
        });
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
