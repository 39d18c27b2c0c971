// SPDX-License-Identifier: BSD-3-Clause
#include "engine/in_place.hpp"

#include <vector>

#include "engine/fpu.hpp"
#include "engine/job.hpp"

namespace fastclip {
namespace {

NormPlan& plan_of(std::span<const Buffer> list) {
    thread_local NormPlan plan;
    plan.make_chunks(list);
    return plan;
}

template <class T, class F>  // f(kernels of the dtype, elements, how many) for each piece, in list order
std::vector<T> of_each(const Plan& plan, F f) {
    std::vector<T> values(plan.pieces.size());
    parallel_for(plan.partition, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
            const Piece& piece = plan.pieces[static_cast<std::size_t>(i)];
            with_elements(piece, [&](const char* x) {
                values[static_cast<std::size_t>(i)] = f(kernels()[piece.buffer->dtype], x, piece.count);
                return false;
            });
        }
    });
    return values;
}

double sum_of_magnitudes(const Plan& plan) {
    Total total;
    const auto sums =
        of_each<Partial>(plan, [](const Kernels& k, const char* x, std::int64_t n) { return k.sumabs(x, n); });
    for (const Partial& p : sums) total.add(p);
    return as_number(total.sum());
}

double largest_magnitude(const Plan& plan) {
    double most = 0.0;
    const auto largest =
        of_each<double>(plan, [](const Kernels& k, const char* x, std::int64_t n) { return k.maxabs(x, n); });
    for (const double x : largest) most = larger(most, x);
    return most;
}

}  // namespace

InPlace::InPlace(std::span<const Buffer> list) : list_(list), plan_(plan_of(list)) {}

double InPlace::norm(Power power) {
    FpuGuard fpu;
    if (power == Power::one) return sum_of_magnitudes(plan_);
    if (power == Power::infinite) return largest_magnitude(plan_);
    return value(plan_.norm());
}

void InPlace::scale(double coefficient) {
    if (coefficient == 1.0) return;
    FpuGuard fpu;
    Job(list_, {}).scale(plan_, product_of(coefficient));
}

}  // namespace fastclip
