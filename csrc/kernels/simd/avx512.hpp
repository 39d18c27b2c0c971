// SPDX-License-Identifier: BSD-3-Clause
// AVX-512 (F, BW, DQ, VL). Each operation does to the bit what plain.hpp's does.
#pragma once

#include <immintrin.h>

#include "core/convert.hpp"

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
    template <class T>  // Half or Brain
    static F64 widen(const T* p) {
        return _mm512_cvtps_pd(to_f32x8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)), p));
    }
    template <class T>
    static F64 widen_first(const T* p, int count) {
        return _mm512_cvtps_pd(to_f32x8(_mm_maskz_loadu_epi16(first8(count), p), p));
    }
    static __m256 to_f32x8(__m128i eight, const Half*) { return _mm256_cvtph_ps(eight); }
    static __m256 to_f32x8(__m128i eight, const Brain*) {
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(eight), 16));
    }
    static F64 load_first(const double* p, int count) { return _mm512_maskz_loadu_pd(first8(count), p); }
    static void store_first(double* p, F64 a, int count) { _mm512_mask_storeu_pd(p, first8(count), a); }
    static void narrow_first(float* p, F64 a, int count) {
        _mm256_mask_storeu_ps(p, first8(count), _mm512_cvtpd_ps(a));
    }
    template <class T>  // Half or Brain
    static void narrow_first(T* p, F64 a, int count) {
        float some[8];
        _mm256_storeu_ps(some, _mm512_cvtpd_ps(a));
        for (int i = 0; i < count; ++i) round_to(p[i], some[i]);
    }
    template <class T>
    static void narrow(T* p, F64 a) {
        narrow_first(p, a, 8);
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
    static F32 as_f32(__m256i sixteen, const Half*) { return _mm512_cvtph_ps(sixteen); }
    static F32 as_f32(__m256i sixteen, const Brain*) {
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(sixteen), 16));
    }
    static __m256i round16(F32 a, const Half*) { return _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT); }
    struct Brains {  // 32 elements
        F32 even, odd;
    };
    static F32 load_even(const Brain* p) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16)); }
    static F32 load_odd(const Brain* p) {
        const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
        return _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(p), upper));
    }
    static __m512i round_up_half(F32 a) {  // the integers of convert.hpp: bf16 in the upper halves
        const __m512i b = _mm512_castps_si512(a);
        const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(b, 16), _mm512_set1_epi32(1));
        return _mm512_add_epi32(b, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    }
    static __m512i round_pairs(Brains a) {
        const __m512i even = _mm512_srli_epi32(round_up_half(a.even), 16);
        return _mm512_mask_blend_epi16(0xaaaaaaaau, even, round_up_half(a.odd));
    }
    static void store_pairs(Brain* p, Brains a) { _mm512_storeu_si512(p, round_pairs(a)); }
    static void store_pairs_past_cache(Brain* p, Brains a) {
        _mm512_stream_si512(reinterpret_cast<__m512i*>(p), round_pairs(a));
    }
    static __m256i round16(F32 a, const Brain*) {
        return _mm512_cvtepi32_epi16(_mm512_srli_epi32(round_up_half(a), 16));
    }
    template <class T>  // Half or Brain
    static F32 load(const T* p) {
        return as_f32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)), p);
    }
    template <class T>
    static F32 load_first(const T* p, int count) {
        return as_f32(_mm256_maskz_loadu_epi16(first16(count), p), p);
    }
    template <class T>
    static void store(T* p, F32 a) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), round16(a, p));
    }
    template <class T>
    static void store_first(T* p, F32 a, int count) {
        _mm256_mask_storeu_epi16(p, first16(count), round16(a, p));
    }
    static void store_past_cache(float* p, F32 a) { _mm512_stream_ps(p, a); }
    static void store_past_cache(double* p, F64 a) { _mm512_stream_pd(p, a); }
    template <class T>  // Half or Brain
    static void store_past_cache(T* p, F32 a) {
        _mm256_stream_si256(reinterpret_cast<__m256i*>(p), round16(a, p));
    }
    static void fence() { _mm_sfence(); }
    static int outside(F32 v, F32 lo, F32 hi) {
        return _mm512_cmp_ps_mask(v, lo, _CMP_LT_OQ) | _mm512_cmp_ps_mask(v, hi, _CMP_GT_OQ);
    }
    static int outside(F64 v, F64 lo, F64 hi) {
        return _mm512_cmp_pd_mask(v, lo, _CMP_LT_OQ) | _mm512_cmp_pd_mask(v, hi, _CMP_GT_OQ);
    }
    template <class F>
    static bool any_outside(const F (&v)[4], F lo, F hi) {
        return (outside(v[0], lo, hi) | outside(v[1], lo, hi) | outside(v[2], lo, hi) | outside(v[3], lo, hi)) != 0;
    }
    static F32 clamp_between_keeping_zero(F32 v, F32 lo, F32 hi) {
        const F32 x = _mm512_mask_mov_ps(_mm512_max_ps(lo, v), _mm512_cmp_ps_mask(lo, lo, _CMP_UNORD_Q), lo);
        return _mm512_mask_mov_ps(_mm512_min_ps(hi, x), _mm512_cmp_ps_mask(hi, hi, _CMP_UNORD_Q), hi);
    }
    // max and min return their second operand on NaN and on two zeros
    static F32 clamp_between(F32 v, F32 lo, F32 hi) {
        const F32 x = _mm512_mask_mov_ps(_mm512_max_ps(v, lo), _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), v);
        return _mm512_mask_mov_ps(_mm512_min_ps(x, hi), _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), x);
    }
    static F64 clamp_between(F64 v, F64 lo, F64 hi) {
        const F64 x = _mm512_mask_mov_pd(_mm512_max_pd(v, lo), _mm512_cmp_pd_mask(v, v, _CMP_UNORD_Q), v);
        return _mm512_mask_mov_pd(_mm512_min_pd(x, hi), _mm512_cmp_pd_mask(x, x, _CMP_UNORD_Q), x);
    }
    static F32 add(F32 a, F32 b) { return _mm512_add_ps(a, b); }
    static F32 sub(F32 a, F32 b) { return _mm512_sub_ps(a, b); }
    static F32 mul(F32 a, F32 b) { return _mm512_mul_ps(a, b); }
    static F32 clamp(F32 v, F32 lo, F32 hi) { return _mm512_max_ps(lo, _mm512_min_ps(hi, v)); }
};

}  // namespace
}  // namespace fastclip
