// SPDX-License-Identifier: BSD-3-Clause
// A record of fastclip._rules, as Python hands it over.
#pragma once

#include <optional>

#include "engine/ops.hpp"

namespace fastclip {

inline constexpr Rule kPlainRule = {2.0};  // the defaults of fastclip._rules.Rule

struct RuleRecord {
    Rule rule;
    Nonfinite nonfinite;
    bool average;

    Request request(double limit, std::optional<double> use_norm = {}) const {
        return {rule, limit, nonfinite, use_norm, average};
    }
};

}  // namespace fastclip
