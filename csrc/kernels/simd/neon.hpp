// SPDX-License-Identifier: BSD-3-Clause
// NEON of arm64. Each operation does to the bit what plain.hpp's does: no vmaxq or vminq, which take NaN from a bound
// and order -0 below 0.
#pragma once

#include <arm_neon.h>

#include "core/convert.hpp"

namespace fastclip {
namespace {

struct Neon {
    static constexpr int kF64 = 2;
    static constexpr int kF32 = 4;
    using F64 = float64x2_t;
    using F32 = float32x4_t;

    static F64 set(double x) { return vdupq_n_f64(x); }
    static F64 load(const double* p) { return vld1q_f64(p); }
    static void store(double* p, F64 a) { vst1q_f64(p, a); }
    // the first `count` elements, 0 for the others, of which no byte is read or written
    static F64 load_first(const double* p, int count) {
        F64 r = set(0.0);
        if (count > 0) r = vld1q_lane_f64(p, r, 0);
        if (count > 1) r = vld1q_lane_f64(p + 1, r, 1);
        return r;
    }
    static void store_first(double* p, F64 a, int count) {
        if (count > 0) vst1q_lane_f64(p, a, 0);
        if (count > 1) vst1q_lane_f64(p + 1, a, 1);
    }
    static F64 widen(const float* p) { return vcvt_f64_f32(vld1_f32(p)); }
    template <class T>  // Half or Brain
    static F64 widen(const T* p) {
        std::uint32_t two;
        __builtin_memcpy(&two, p, sizeof two);
        return widen_low(to_f32x4(vreinterpret_u16_u32(vdup_n_u32(two)), p));
    }
    template <class T>  // Half, Brain or float
    static F64 widen_first(const T* p, int count) {
        return widen_low(load_first(p, count));
    }
    static F64 widen_low(F32 a) { return vcvt_f64_f32(vget_low_f32(a)); }
    static F64 widen_high(F32 a) { return vcvt_high_f64_f32(a); }
    static double sum_by_halves(F64 a) { return vgetq_lane_f64(a, 0) + vgetq_lane_f64(a, 1); }
    static void narrow(float* p, F64 a) { vst1_f32(p, vcvt_f32_f64(a)); }
    template <class T>  // Half or Brain
    static void narrow(T* p, F64 a) {
        const std::uint32_t two = vget_lane_u32(vreinterpret_u32_u16(round4(narrowed(a), p)), 0);
        __builtin_memcpy(p, &two, sizeof two);
    }
    template <class T>  // Half, Brain or float
    static void narrow_first(T* p, F64 a, int count) {
        store_first(p, narrowed(a), count);
    }
    static F32 narrowed(F64 a) { return vcombine_f32(vcvt_f32_f64(a), vdup_n_f32(0.0f)); }
    static F64 add(F64 a, F64 b) { return vaddq_f64(a, b); }
    static F64 sub(F64 a, F64 b) { return vsubq_f64(a, b); }
    static F64 mul(F64 a, F64 b) { return vmulq_f64(a, b); }
    // here the units that add are those that multiply, and an addition is the faster of the two
    static F64 hidden_one() { return set(1.0); }
    static F64 fma_sub(F64 a, F64, F64 b) { return sub(a, b); }
    static F64 abs(F64 a) { return vabsq_f64(a); }
    static F64 add_exact_square(F64 a, F64 x) { return vfmaq_f64(a, x, x); }
    static F64 square_error(F64 x, F64 p) { return vfmaq_f64(vnegq_f64(p), x, x); }
    static F64 zero_unless_ge(F64 a, F64 p, double least) {
        return vreinterpretq_f64_u64(vandq_u64(vreinterpretq_u64_f64(a), vcgeq_f64(p, set(least))));
    }
    static F64 clamp(F64 v, F64 lo, F64 hi) {
        const F64 x = vbslq_f64(vcltq_f64(hi, v), hi, v);
        return vbslq_f64(vcgtq_f64(lo, x), lo, x);
    }
    static uint64x2_t or_nan(uint64x2_t a, F64 b) { return vornq_u64(a, vceqq_f64(b, b)); }  // a, or b is NaN
    static F64 clamp_between(F64 v, F64 lo, F64 hi) {
        const F64 x = vbslq_f64(or_nan(vcgtq_f64(v, lo), v), v, lo);
        return vbslq_f64(or_nan(vcltq_f64(x, hi), x), x, hi);
    }

    static F32 set32(float x) { return vdupq_n_f32(x); }
    static F32 load(const float* p) { return vld1q_f32(p); }
    static void store(float* p, F32 a) { vst1q_f32(p, a); }
    static F32 load_first(const float* p, int count) {
        F32 r = set32(0.0f);
        if (count > 0) r = vld1q_lane_f32(p, r, 0);
        if (count > 1) r = vld1q_lane_f32(p + 1, r, 1);
        if (count > 2) r = vld1q_lane_f32(p + 2, r, 2);
        if (count > 3) r = vld1q_lane_f32(p + 3, r, 3);
        return r;
    }
    static void store_first(float* p, F32 a, int count) {
        if (count > 0) vst1q_lane_f32(p, a, 0);
        if (count > 1) vst1q_lane_f32(p + 1, a, 1);
        if (count > 2) vst1q_lane_f32(p + 2, a, 2);
        if (count > 3) vst1q_lane_f32(p + 3, a, 3);
    }
    static F32 to_f32x4(uint16x4_t four, const Half*) { return vcvt_f32_f16(vreinterpret_f16_u16(four)); }
    static F32 to_f32x4(uint16x4_t four, const Brain*) { return vreinterpretq_f32_u32(vshll_n_u16(four, 16)); }
    static uint16x4_t round4(F32 a, const Half*) { return vreinterpret_u16_f16(vcvt_f16_f32(a)); }
    static uint32x4_t round_up_half(F32 a) {  // the integers of convert.hpp: bf16 in the upper halves
        const uint32x4_t b = vreinterpretq_u32_f32(a), odd = vandq_u32(vshrq_n_u32(b, 16), vdupq_n_u32(1));
        return vaddq_u32(b, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
    }
    static uint16x4_t round4(F32 a, const Brain*) { return vshrn_n_u32(round_up_half(a), 16); }
    struct Brains {  // 8 elements
        F32 even, odd;
    };
    static void store_pairs(Brain* p, Brains a) {
        const uint32x4_t both = vsriq_n_u32(round_up_half(a.odd), round_up_half(a.even), 16);
        vst1q_u16(&p->bits, vreinterpretq_u16_u32(both));
    }
    static void store_pairs_past_cache(Brain* p, Brains a) { store_pairs(p, a); }
    static F32 load_even(const Brain* p) {
        return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_u16(vld1q_u16(&p->bits)), 16));
    }
    static F32 load_odd(const Brain* p) {
        return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_u16(vld1q_u16(&p->bits)), vdupq_n_u32(0xffff0000u)));
    }
    template <class T>  // Half or Brain
    static F32 load(const T* p) {
        return to_f32x4(vld1_u16(&p->bits), p);
    }
    template <class T>
    static void store(T* p, F32 a) {
        vst1_u16(&p->bits, round4(a, p));
    }
    template <class T>
    static F32 load_first(const T* p, int count) {
        uint16x4_t r = vdup_n_u16(0);
        if (count > 0) r = vld1_lane_u16(&p[0].bits, r, 0);
        if (count > 1) r = vld1_lane_u16(&p[1].bits, r, 1);
        if (count > 2) r = vld1_lane_u16(&p[2].bits, r, 2);
        if (count > 3) r = vld1_lane_u16(&p[3].bits, r, 3);
        return to_f32x4(r, p);
    }
    template <class T>
    static void store_first(T* p, F32 a, int count) {
        const uint16x4_t r = round4(a, p);
        if (count > 0) vst1_lane_u16(&p[0].bits, r, 0);
        if (count > 1) vst1_lane_u16(&p[1].bits, r, 1);
        if (count > 2) vst1_lane_u16(&p[2].bits, r, 2);
        if (count > 3) vst1_lane_u16(&p[3].bits, r, 3);
    }
    static F32 add(F32 a, F32 b) { return vaddq_f32(a, b); }
    static F32 sub(F32 a, F32 b) { return vsubq_f32(a, b); }
    static F32 add_square(F32 a, F32 x) { return vfmaq_f32(a, x, x); }
    static F32 mul(F32 a, F32 b) { return vmulq_f32(a, b); }
    template <class T, class V>
    static void store_past_cache(T* p, V a) {  // the only hint, stnp, has no intrinsic
        store(p, a);
    }
    static void fence() {}
    static uint32x4_t outside(F32 v, F32 lo, F32 hi) { return vorrq_u32(vcltq_f32(v, lo), vcgtq_f32(v, hi)); }
    static uint32x4_t outside(F64 v, F64 lo, F64 hi) {
        return vreinterpretq_u32_u64(vorrq_u64(vcltq_f64(v, lo), vcgtq_f64(v, hi)));
    }
    template <class F>
    static bool any_outside(const F (&v)[4], F lo, F hi) {
        const uint32x4_t a = vorrq_u32(outside(v[0], lo, hi), outside(v[1], lo, hi));
        const uint32x4_t b = vorrq_u32(outside(v[2], lo, hi), outside(v[3], lo, hi));
        return vmaxvq_u32(vorrq_u32(a, b)) != 0;
    }
    static F32 clamp(F32 v, F32 lo, F32 hi) {
        const F32 x = vbslq_f32(vcltq_f32(hi, v), hi, v);
        return vbslq_f32(vcgtq_f32(lo, x), lo, x);
    }
    static uint32x4_t or_nan(uint32x4_t a, F32 b) { return vornq_u32(a, vceqq_f32(b, b)); }
    static F32 clamp_between(F32 v, F32 lo, F32 hi) {
        const F32 x = vbslq_f32(or_nan(vcgtq_f32(v, lo), v), v, lo);
        return vbslq_f32(or_nan(vcltq_f32(x, hi), x), x, hi);
    }
    static F32 clamp_between_keeping_zero(F32 v, F32 lo, F32 hi) {
        const F32 x = vbslq_f32(or_nan(vcgtq_f32(lo, v), lo), lo, v);
        return vbslq_f32(or_nan(vcltq_f32(hi, x), hi), hi, x);
    }
};

}  // namespace
}  // namespace fastclip
