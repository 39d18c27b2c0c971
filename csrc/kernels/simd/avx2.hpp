// SPDX-License-Identifier: BSD-3-Clause
// AVX2 + FMA. Each operation does to the bit what plain.hpp's does.
#pragma once

#include <immintrin.h>

#include "core/convert.hpp"

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
    template <class T>  // Half or Brain
    static F64 widen(const T* p) {
        return _mm256_cvtps_pd(to_f32x4(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)), p));
    }
    template <class T>
    static F64 widen_first(const T* p, int count) {
        T some[4] = {};
        for (int i = 0; i < count; ++i) some[i] = p[i];
        return widen(some);
    }
    static F64 widen_low(F32 a) { return _mm256_cvtps_pd(_mm256_castps256_ps128(a)); }
    static F64 widen_high(F32 a) { return _mm256_cvtps_pd(_mm256_extractf128_ps(a, 1)); }
    static __m128 to_f32x4(__m128i four, const Half*) { return _mm_cvtph_ps(four); }
    static __m128 to_f32x4(__m128i four, const Brain*) {
        return _mm_castsi128_ps(_mm_slli_epi32(_mm_cvtepu16_epi32(four), 16));
    }
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
    template <class T>  // Half or Brain
    static void narrow_first(T* p, F64 a, int count) {
        float some[4];
        _mm_storeu_ps(some, _mm256_cvtpd_ps(a));
        for (int i = 0; i < count; ++i) round_to(p[i], some[i]);
    }
    template <class T>
    static void narrow(T* p, F64 a) {
        narrow_first(p, a, 4);
    }
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
    static F32 load(const Half* p) { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
    static F32 load(const Brain* p) {
        const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
        return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
    }
    static F32 load_even(const Brain* p) {
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)), 16));
    }
    static F32 load_odd(const Brain* p) {
        const __m256i upper = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
        return _mm256_castsi256_ps(_mm256_and_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)), upper));
    }
    template <class T>  // Half or Brain
    static F32 load_first(const T* p, int count) {
        T some[8] = {};
        for (int i = 0; i < count; ++i) some[i] = p[i];
        return load(some);
    }
    static __m128i round8(F32 a, const Half*) { return _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT); }
    struct Brains {  // 16 elements
        F32 even, odd;
    };
    static __m256i round_up_half(F32 a) {  // the integers of convert.hpp: bf16 in the upper halves
        const __m256i b = _mm256_castps_si256(a);
        const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(b, 16), _mm256_set1_epi32(1));
        return _mm256_add_epi32(b, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    }
    static __m256i round_pairs(Brains a) {
        return _mm256_blend_epi16(_mm256_srli_epi32(round_up_half(a.even), 16), round_up_half(a.odd), 0xaa);
    }
    static void store_pairs(Brain* p, Brains a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), round_pairs(a)); }
    static void store_pairs_past_cache(Brain* p, Brains a) {
        _mm256_stream_si256(reinterpret_cast<__m256i*>(p), round_pairs(a));
    }
    static __m128i round8(F32 a, const Brain*) {
        const __m256i r = _mm256_srli_epi32(round_up_half(a), 16);
        return _mm_packus_epi32(_mm256_castsi256_si128(r), _mm256_extracti128_si256(r, 1));
    }
    template <class T>  // Half or Brain
    static void store(T* p, F32 a) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p), round8(a, p));
    }
    template <class T>
    static void store_first(T* p, F32 a, int count) {
        T some[8];
        store(some, a);
        for (int i = 0; i < count; ++i) p[i] = some[i];
    }
    static F32 add(F32 a, F32 b) { return _mm256_add_ps(a, b); }
    static F32 sub(F32 a, F32 b) { return _mm256_sub_ps(a, b); }
    static F32 add_square(F32 a, F32 x) { return _mm256_fmadd_ps(x, x, a); }
    static void store_past_cache(float* p, F32 a) { _mm256_stream_ps(p, a); }
    static void store_past_cache(double* p, F64 a) { _mm256_stream_pd(p, a); }
    template <class T>  // Half or Brain
    static void store_past_cache(T* p, F32 a) {
        _mm_stream_si128(reinterpret_cast<__m128i*>(p), round8(a, p));
    }
    static void fence() { _mm_sfence(); }
    static F32 outside(F32 v, F32 lo, F32 hi) {
        return _mm256_or_ps(_mm256_cmp_ps(v, lo, _CMP_LT_OQ), _mm256_cmp_ps(v, hi, _CMP_GT_OQ));
    }
    static F64 outside(F64 v, F64 lo, F64 hi) {
        return _mm256_or_pd(_mm256_cmp_pd(v, lo, _CMP_LT_OQ), _mm256_cmp_pd(v, hi, _CMP_GT_OQ));
    }
    static bool any_outside(const F32 (&v)[4], F32 lo, F32 hi) {
        const F32 a = _mm256_or_ps(outside(v[0], lo, hi), outside(v[1], lo, hi));
        const F32 b = _mm256_or_ps(outside(v[2], lo, hi), outside(v[3], lo, hi));
        return _mm256_movemask_ps(_mm256_or_ps(a, b)) != 0;
    }
    static bool any_outside(const F64 (&v)[4], F64 lo, F64 hi) {
        const F64 a = _mm256_or_pd(outside(v[0], lo, hi), outside(v[1], lo, hi));
        const F64 b = _mm256_or_pd(outside(v[2], lo, hi), outside(v[3], lo, hi));
        return _mm256_movemask_pd(_mm256_or_pd(a, b)) != 0;
    }
    static F32 clamp_between_keeping_zero(F32 v, F32 lo, F32 hi) {
        const F32 x = _mm256_blendv_ps(_mm256_max_ps(lo, v), lo, _mm256_cmp_ps(lo, lo, _CMP_UNORD_Q));
        return _mm256_blendv_ps(_mm256_min_ps(hi, x), hi, _mm256_cmp_ps(hi, hi, _CMP_UNORD_Q));
    }
    // max and min return their second operand on NaN and on two zeros
    static F32 clamp_between(F32 v, F32 lo, F32 hi) {
        const F32 x = _mm256_blendv_ps(_mm256_max_ps(v, lo), v, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
        return _mm256_blendv_ps(_mm256_min_ps(x, hi), x, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    }
    static F64 clamp_between(F64 v, F64 lo, F64 hi) {
        const F64 x = _mm256_blendv_pd(_mm256_max_pd(v, lo), v, _mm256_cmp_pd(v, v, _CMP_UNORD_Q));
        return _mm256_blendv_pd(_mm256_min_pd(x, hi), x, _mm256_cmp_pd(x, x, _CMP_UNORD_Q));
    }
    static F32 mul(F32 a, F32 b) { return _mm256_mul_ps(a, b); }
    static F32 clamp(F32 v, F32 lo, F32 hi) { return _mm256_max_ps(lo, _mm256_min_ps(hi, v)); }
};

}  // namespace
}  // namespace fastclip
