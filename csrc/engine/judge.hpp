// SPDX-License-Identifier: BSD-3-Clause
// What a request makes of a norm.
#pragma once

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <span>

#include "core/kernel_table.hpp"
#include "engine/ops.hpp"

namespace fastclip {

inline double coarsest_round(std::span<const Buffer> list) {
    double round = 0.0;
    for (const Buffer& b : list) round = std::max(round, info(b.dtype).round);
    return round;
}

inline Product product(const Coefficient& c) {
    return {static_cast<float>(c.plain), c.plain < kPlainBelow, c.plain, c.pre, c.factor};
}

inline constexpr Coefficient kAllNan = {true, NAN, 1.0, NAN};

inline Coefficient judge(const Request& request, Norm norm, bool nonfinite, std::int64_t count, double round) {
    if (request.limit == kInf) return kKeep;
    double limit = request.limit;
    if (request.average) limit = std::min(limit * static_cast<double>(count), DBL_MAX);
    if (nonfinite && request.nonfinite == Nonfinite::nan) return kAllNan;
    return coefficient(request.rule, norm, limit, round);
}

}  // namespace fastclip
