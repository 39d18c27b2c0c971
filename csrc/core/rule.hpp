// SPDX-License-Identifier: BSD-3-Clause
// From a sum of squares to the coefficient, in double-double: (hi, lo) stands for hi + lo, |lo| <= ulp(hi) / 2.
//
// This text and sum.hpp need no standard header, so that CUDA's run-time compiler takes them as they are.
#pragma once

#include "core/sum.hpp"

namespace fastclip {

// A coefficient below this no longer keeps f32's 24 bits clear of f32's subnormals: it is applied in f64.
constexpr double kPlainBelow = 0x1p-100;
// A coefficient below this is applied to f64 in two factors, or it would itself be subnormal.
constexpr double kSplitBelow = 0x1p-900;

// The norm of elements that were multiplied with `scale` first.
struct Norm {
    double hi, lo, scale;
};

FASTCLIP_DEVICE Norm norm_of(Sum sumsq, double scale) {
    Sum s = two_sum(sumsq.hi, sumsq.lo);
    if (!(s.hi > 0.0) || !is_finite(s.hi)) return {is_finite(s.hi) ? 0.0 : sumsq.hi, 0.0, scale};
    double root = FASTCLIP_BUILTIN(sqrt)(s.hi);
    double rest = (FASTCLIP_BUILTIN(fma)(-root, root, s.hi) + s.lo) / (2.0 * root);  // one Newton step
    Sum n = two_sum(root, rest);
    return {n.hi, n.lo, scale};
}

// The norm as a number: infinity when it is beyond f64.
FASTCLIP_DEVICE double value(Norm n) { return n.hi * (1.0 / n.scale); }

// A rule is what one clipping function does with a norm; `fastclip._rules` holds the records.
struct Rule {
    double slack;  // a norm up to limit * (1 + slack * u) is within the limit
};

struct Coefficient {
    bool clip;           // false: leave every element as it is
    double plain;        // the coefficient; it may be subnormal or 0
    double pre, factor;  // plain = pre * factor, both normal
};

constexpr Coefficient kKeep = {false, 1.0, 1.0, 1.0};

FASTCLIP_DEVICE double quotient(double limit, Norm n) {  // RN(limit / (hi + lo)), barring underflow
    double q = limit / n.hi;
    if (!is_finite(q) || q == 0.0) return q;
    return q + (FASTCLIP_BUILTIN(fma)(-q, n.hi, limit) - q * n.lo) / n.hi;
}

// `round` is the unit roundoff of the coarsest dtype in the list. NaN gives NaN, an infinite norm gives 0.
FASTCLIP_DEVICE Coefficient coefficient(Rule rule, Norm n, double limit, double round) {
    if (limit == kInf) return kKeep;
    double bound = limit * n.scale;
    if ((n.hi - bound) + n.lo <= rule.slack * round * bound || bound == kInf) return kKeep;
    if (limit == 0.0 || n.hi == kInf) return {true, 0.0, 1.0, 0.0};
    const double up = n.scale > 1.0 ? n.scale : limit < 0x1p-500 ? 0x1p+500 : 1.0;  // keeps the remainder exact
    double c = quotient(limit * up, n) * (n.scale / up);
    if (!(c < kSplitBelow)) return {true, c, 1.0, c};
    // Where the product is a normal number, so is x * pre: exact, and only the last multiplication rounds.
    double factor = quotient(limit * 0x1p+512, n) * n.scale;
    if (factor >= 0x1p-988) return {true, c, 0x1p-512, factor};
    return {true, c, 0x1p-1060, quotient(limit * 0x1p+530, n) * (n.scale * 0x1p+530)};
}

}  // namespace fastclip
