// SPDX-License-Identifier: BSD-3-Clause
// From a sum of squares to what becomes of the elements; the rules themselves are core/rule.hpp and torch_rule.hpp.
#pragma once

#include "common.cuh"
#include "core/torch_rule.hpp"
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

template <int D>
FASTCLIP_INLINE Verdict judge_in_dtype(const Request& request, double norm) {
    using Stored = typename Element<D>::Stored;
    const auto number = [](double x) { return as_f64(Element<D>::load(stored<D>(x))); };
    if (request.given) norm = as_f64(Element<D>::load(*static_cast<const Stored*>(request.given)));
    const bool nonfinite = !is_finite(norm) || (D == kF64 && !is_finite(norm * norm));  // where PyTorch's is infinite
    const double held = number(norm);
    double c;
    if (D == kF64 || (is_finite(norm) && !is_finite(held)))  // or finite elements, whose norm the dtype can't hold
        c = torch_coefficient_f64(norm, request.limit);
    else
        c = torch_coefficient_narrow(held, widen(narrow(request.limit)), [](double x) {
            return as_f64(Element<D>::load(Element<D>::store((typename Element<D>::Value)narrow(x))));
        });
    if (nonfinite && request.policy == Policy::raise) c = 1.0;
    return {{c != 1.0, widen(narrow(c)), 1.0, c}, norm, 0, nonfinite};
}

FASTCLIP_INLINE Verdict judge_as_torch(const Request& request, const Total& total) {
    Verdict verdict;
    const double norm = value(norm_of_total(total));
    with_dtype(request.norm_dtype, [&](auto tag) { verdict = judge_in_dtype<decltype(tag)::value>(request, norm); });
    return verdict;
}

FASTCLIP_INLINE void publish(const Request& request, const Verdict& verdict) {
    if (request.norm)
        with_dtype(request.norm_dtype, [&](auto tag) {
            constexpr int D = decltype(tag)::value;
            *static_cast<typename Element<D>::Stored*>(request.norm) = stored<D>(verdict.norm);
        });
    if (request.coefficient) *request.coefficient = narrow(verdict.by.clip ? verdict.by.plain : 1.0);
}

}  // namespace fastclip
