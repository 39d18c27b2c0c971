// SPDX-License-Identifier: BSD-3-Clause
// From a sum of squares to what becomes of the elements; the rule itself is core/rule.hpp.
#pragma once

#include "common.cuh"
#include "total.cuh"

namespace fastclip {

// `read` is the norm of the finite elements under Policy::zero.
FASTCLIP_INLINE Verdict judge(const Request& request, const Total& total, i64 count, double round) {
    constexpr Coefficient kAllNan = {true, kNan, 1.0, kNan};
    const Norm read = norm_of_total(total);
    Norm norm = request.use_norm >= 0.0 ? Norm{request.use_norm, 0.0, 1.0} : read;
    if (request.policy == Policy::zero && !is_finite(norm.hi)) norm = read;
    const bool nonfinite = total.nonfinite != 0;
    double limit = request.limit;
    if (request.average) {
        limit *= (double)count;
        if (limit == kInf && request.limit < kInf) limit = 0x1.fffffffffffffp+1023;
    }
    Coefficient by = coefficient({request.slack}, norm, limit, round);
    if (nonfinite && request.limit < kInf && request.policy == Policy::nan) by = kAllNan;
    if (nonfinite && (request.policy == Policy::raise || request.policy == Policy::skip)) by = kKeep;
    return {by, value(norm), nonfinite && request.policy == Policy::zero, nonfinite};
}

FASTCLIP_INLINE void publish(const Request& request, const Verdict& verdict, u32 at) {
    if (request.norm) request.norm[at] = verdict.norm;
    if (request.coefficient) request.coefficient[at] = narrow(verdict.by.clip ? verdict.by.plain : 1.0);
}

}  // namespace fastclip
