// SPDX-License-Identifier: BSD-3-Clause
// Sums of squares that neither round visibly nor leave the range. Needs no standard header, like rule.hpp.
#pragma once

#ifdef __CUDACC__
#define FASTCLIP_DEVICE __device__ inline
#define FASTCLIP_BUILTIN(name) name
#else
#define FASTCLIP_DEVICE static inline
#define FASTCLIP_BUILTIN(name) __builtin_##name
#endif

namespace fastclip {

constexpr double kInf = __builtin_bit_cast(double, 0x7ff0000000000000ull);  // the one way that NVRTC has, too

// Squares of f64 leave the range long before the norm does. A total outside [kSafeMin, kSafeMax] is taken again from
// elements times 2^-600 or 2^600. Then the norm lies in [2^-100, 2^454] or below 2^150, no square or part of it
// overflows, and even the least subnormal number squares to 2^-948, where the square and its error are exact.
constexpr double kShrink = 0x1p-600;
constexpr double kGrow = 0x1p+600;
constexpr double kSafeMin = 0x1p-900;
constexpr double kSafeMax = 0x1p+1000;
// The rounding errors of squares below this are left out (they would not be exact): 2^-113 of a total of kSafeMin.
constexpr double kSquareErrorMin = 0x1p-960;

struct Sum {
    double hi, lo;  // hi + lo, unevaluated
};

FASTCLIP_DEVICE Sum two_sum(double a, double b) {  // a + b = hi + lo, exactly: Knuth, TAOCP 2, 4.2.2
    double s = a + b, bb = s - a;
    return {s, (a - (s - bb)) + (b - bb)};
}

FASTCLIP_DEVICE bool is_finite(double x) { return x - x == 0.0; }

}  // namespace fastclip
