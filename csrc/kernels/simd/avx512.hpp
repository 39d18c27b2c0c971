// SPDX-License-Identifier: BSD-3-Clause
// AVX-512 (F, BW, DQ, VL). Each operation does to the bit what plain.hpp's does.
#pragma once

#include <immintrin.h>

namespace fastclip {
namespace {

struct Avx512 {
    static constexpr int kF64 = 8;
    static constexpr int kF32 = 16;
    using F64 = __m512d;
    using F32 = __m512;

    static F64 set(double x) { return _mm512_set1_pd(x); }
    static F64 load(const double* p) { return _mm512_loadu_pd(p); }
    static F64 widen(const float* p) { return _mm512_cvtps_pd(_mm256_loadu_ps(p)); }
    static void store(double* p, F64 a) { _mm512_storeu_pd(p, a); }
    // the first `count` elements, 0 for the others, of which no byte is read or written
    static __mmask8 first8(int count) { return static_cast<__mmask8>((1u << count) - 1); }
    static F64 widen_first(const float* p, int count) {
        return _mm512_cvtps_pd(_mm256_maskz_loadu_ps(first8(count), p));
    }
    static F64 load_first(const double* p, int count) { return _mm512_maskz_loadu_pd(first8(count), p); }
    static void store_first(double* p, F64 a, int count) { _mm512_mask_storeu_pd(p, first8(count), a); }
    static void narrow_first(float* p, F64 a, int count) {
        _mm256_mask_storeu_ps(p, first8(count), _mm512_cvtpd_ps(a));
    }
    static void narrow(float* p, F64 a) { _mm256_storeu_ps(p, _mm512_cvtpd_ps(a)); }
    static F64 add(F64 a, F64 b) { return _mm512_add_pd(a, b); }
    static F64 sub(F64 a, F64 b) { return _mm512_sub_pd(a, b); }
    static F64 mul(F64 a, F64 b) { return _mm512_mul_pd(a, b); }
    // a * one - b is a - b: subtractions for the units that multiply, when those that add are the bottleneck
    static F64 hidden_one() {  // a 1 that the compiler can't see, or it would make it a subtraction again
        F64 one = set(1.0);
        __asm__("" : "+v"(one));
        return one;
    }
    static F64 fma_sub(F64 a, F64 one, F64 b) { return _mm512_fmsub_pd(a, one, b); }
    static F64 abs(F64 a) { return _mm512_abs_pd(a); }
    static F64 add_exact_square(F64 a, F64 x) { return _mm512_fmadd_pd(x, x, a); }
    static F64 square_error(F64 x, F64 p) { return _mm512_fmsub_pd(x, x, p); }
    static F64 zero_unless_ge(F64 a, F64 p, double least) {
        return _mm512_maskz_mov_pd(_mm512_cmp_pd_mask(p, set(least), _CMP_GE_OQ), a);
    }
    // max and min return their second operand on NaN and on two zeros
    static F64 clamp(F64 v, F64 lo, F64 hi) { return _mm512_max_pd(lo, _mm512_min_pd(hi, v)); }

    static F32 set32(float x) { return _mm512_set1_ps(x); }
    static F32 load(const float* p) { return _mm512_loadu_ps(p); }
    static void store(float* p, F32 a) { _mm512_storeu_ps(p, a); }
    static __mmask16 first16(int count) { return static_cast<__mmask16>((1u << count) - 1); }
    static F32 load_first(const float* p, int count) { return _mm512_maskz_loadu_ps(first16(count), p); }
    static void store_first(float* p, F32 a, int count) { _mm512_mask_storeu_ps(p, first16(count), a); }
    static F32 mul(F32 a, F32 b) { return _mm512_mul_ps(a, b); }
    static F32 clamp(F32 v, F32 lo, F32 hi) { return _mm512_max_ps(lo, _mm512_min_ps(hi, v)); }
};

}  // namespace
}  // namespace fastclip
