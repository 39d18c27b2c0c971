// SPDX-License-Identifier: BSD-3-Clause
// f16 and bf16 to f32 and back, to nearest with ties to even, as integers: what every ISA's own instructions must
// agree with to the bit, payloads of NaN left aside. Internal linkage, no standard library: kernels include it.
#pragma once

#include "core/dtype.hpp"

namespace fastclip {
namespace {

inline std::uint32_t bits_of(float x) {
    std::uint32_t b;
    __builtin_memcpy(&b, &x, sizeof b);
    return b;
}
inline float float_of(std::uint32_t b) {
    float x;
    __builtin_memcpy(&x, &b, sizeof x);
    return x;
}

inline float to_f32(Half h) {
    const std::uint32_t sign = (h.bits & 0x8000u) << 16, magnitude = h.bits & 0x7fffu;
    if (magnitude >= 0x7c00u) return float_of(sign | 0x7f800000u | magnitude << 13);
    return float_of(sign | bits_of(float_of(magnitude << 13) * 0x1p112f));  // exact for subnormal numbers, too
}
inline float to_f32(Brain b) { return float_of(static_cast<std::uint32_t>(b.bits) << 16); }
inline float to_f32(float x) { return x; }

inline void round_to(Half& h, float x) {
    const std::uint32_t b = bits_of(x), magnitude = b & 0x7fffffffu;
    std::uint32_t r;
    if (magnitude > 0x7f800000u)
        r = 0x7e00u;
    else if (magnitude >= 0x477ff000u)  // 65520 rounds to infinity
        r = 0x7c00u;
    else if (magnitude < 0x38800000u)  // subnormal: the last bit of a sum with 0.5 is worth 2^-24
        r = bits_of(float_of(magnitude) + 0.5f) - 0x3f000000u;
    else
        r = (magnitude - (112u << 23) + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
    h.bits = static_cast<std::uint16_t>(b >> 16 & 0x8000u) | static_cast<std::uint16_t>(r);
}
inline void round_to(Brain& to, float x) {
    const std::uint32_t b = bits_of(x);
    const bool nan = (b & 0x7fffffffu) > 0x7f800000u;
    to.bits = static_cast<std::uint16_t>((nan ? b | 0x400000u : b + 0x7fffu + (b >> 16 & 1u)) >> 16);
}
inline void round_to(float& to, float x) { to = x; }

// From f64 in one rounding. By way of f32 there would be two, so the f32 is rounded to odd: of the two f32 around x,
// the one whose last bit is 1 stands on the same side of every tie as x does.
template <class T>
inline void round_once(T& to, double x) {
    float f = static_cast<float>(x);
    const double back = static_cast<double>(f);
    if (back != x && back - back == 0.0 && !(bits_of(f) & 1u)) {
        const bool away = (back < x) == (x > 0.0);  // the other neighbour has the larger magnitude
        f = float_of(bits_of(f) + (away ? 1u : ~0u));
    }
    round_to(to, f);
}
inline void round_once(float& to, double x) { to = static_cast<float>(x); }
inline void round_once(double& to, double x) { to = x; }

}  // namespace
}  // namespace fastclip
