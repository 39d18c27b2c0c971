// SPDX-License-Identifier: BSD-3-Clause
// AVX2 + FMA. Each operation does to the bit what plain.hpp's does.
#pragma once

#include <immintrin.h>

namespace fastclip {
namespace {

struct Avx2 {
    static constexpr int kF64 = 4;
    static constexpr int kF32 = 8;
    using F64 = __m256d;
    using F32 = __m256;

    static F64 set(double x) { return _mm256_set1_pd(x); }
    static F64 load(const double* p) { return _mm256_loadu_pd(p); }
    static F64 widen(const float* p) { return _mm256_cvtps_pd(_mm_loadu_ps(p)); }
    // the first `count` elements, 0 for the others, of which no byte is read
    static F64 widen_first(const float* p, int count) { return _mm256_cvtps_pd(_mm_maskload_ps(p, first4(count))); }
    static __m128i first4(int count) { return _mm_cmpgt_epi32(_mm_set1_epi32(count), _mm_setr_epi32(0, 1, 2, 3)); }
    static double sum_by_halves(F64 a) {
        __m128d s = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
        return _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)));
    }
    static void store(double* p, F64 a) { _mm256_storeu_pd(p, a); }
    static __m256i first64(int count) {
        return _mm256_cmpgt_epi64(_mm256_set1_epi64x(count), _mm256_setr_epi64x(0, 1, 2, 3));
    }
    static F64 load_first(const double* p, int count) { return _mm256_maskload_pd(p, first64(count)); }
    static void store_first(double* p, F64 a, int count) { _mm256_maskstore_pd(p, first64(count), a); }
    static void narrow_first(float* p, F64 a, int count) { _mm_maskstore_ps(p, first4(count), _mm256_cvtpd_ps(a)); }
    static void narrow(float* p, F64 a) { _mm_storeu_ps(p, _mm256_cvtpd_ps(a)); }
    static F64 add(F64 a, F64 b) { return _mm256_add_pd(a, b); }
    static F64 sub(F64 a, F64 b) { return _mm256_sub_pd(a, b); }
    static F64 mul(F64 a, F64 b) { return _mm256_mul_pd(a, b); }
    // a * one - b is a - b: subtractions for the units that multiply, when those that add are the bottleneck
    static F64 hidden_one() {  // a 1 that the compiler can't see, or it would make it a subtraction again
        F64 one = set(1.0);
        __asm__("" : "+x"(one));
        return one;
    }
    static F64 fma_sub(F64 a, F64 one, F64 b) { return _mm256_fmsub_pd(a, one, b); }
    static F64 abs(F64 a) { return _mm256_andnot_pd(_mm256_set1_pd(-0.0), a); }
    static F64 add_exact_square(F64 a, F64 x) { return _mm256_fmadd_pd(x, x, a); }
    static F64 square_error(F64 x, F64 p) { return _mm256_fmsub_pd(x, x, p); }
    static F64 zero_unless_ge(F64 a, F64 p, double least) {
        return _mm256_and_pd(a, _mm256_cmp_pd(p, set(least), _CMP_GE_OQ));
    }
    // max and min return their second operand on NaN and on two zeros
    static F64 clamp(F64 v, F64 lo, F64 hi) { return _mm256_max_pd(lo, _mm256_min_pd(hi, v)); }

    static F32 set32(float x) { return _mm256_set1_ps(x); }
    static F32 load(const float* p) { return _mm256_loadu_ps(p); }
    static void store(float* p, F32 a) { _mm256_storeu_ps(p, a); }
    static __m256i first32(int count) {
        return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    }
    static F32 load_first(const float* p, int count) { return _mm256_maskload_ps(p, first32(count)); }
    static void store_first(float* p, F32 a, int count) { _mm256_maskstore_ps(p, first32(count), a); }
    static F32 mul(F32 a, F32 b) { return _mm256_mul_ps(a, b); }
    static F32 clamp(F32 v, F32 lo, F32 hi) { return _mm256_max_ps(lo, _mm256_min_ps(hi, v)); }
};

}  // namespace
}  // namespace fastclip
