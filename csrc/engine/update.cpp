// SPDX-License-Identifier: BSD-3-Clause
#include "engine/update.hpp"

#include <cfloat>

#include "engine/fpu.hpp"
#include "engine/job.hpp"
#include "engine/judge.hpp"
#include "engine/norm.hpp"

namespace fastclip {
namespace {

// A list and another that its elements are compared with.
class Pairs {
  public:
    Pairs(std::span<const Buffer> now, std::span<const Buffer> before) : now_(now), before_(before) {}

    template <class F>  // f(elements now, elements before) returns whether the first were changed
    void with(const Piece& piece, F f) const {
        const Piece before = {&before_[static_cast<std::size_t>(piece.buffer - now_.data())], piece.offset,
                              piece.count};
        with_elements(piece, [&](char* x) {
            bool changed = false;
            with_elements(
                before,
                [&](const char* y) {
                    changed = f(x, y);
                    return false;
                },
                1);
            return changed;
        });
    }

    Norm norm(NormPlan& plan) const {
        return plan.norm_by([&](const Piece& piece, double scale) {
            Partial p = {0.0, 0.0};
            with(piece, [&](const char* x, const char* y) {
                p = kernels()[piece.buffer->dtype].update_sumsq(x, y, piece.count, scale);
                return false;
            });
            return p;
        });
    }

    template <class F>  // f(kernels, elements now, elements before, how many) changes what is to be written
    void change(const Plan& plan, F f) const {
        Job(now_, {}).for_each(plan, [&](const Piece& piece, const Buffer& to) {
            with(piece, [&](char* x, const char* y) {
                f(kernels()[to.dtype], x, y, piece.count);
                return true;
            });
        });
    }

  private:
    std::span<const Buffer> now_, before_;
};

// A difference of finite numbers may leave the range of its dtype. It did not if the norm is in it.
Product product_of_differences(const Coefficient& c, double norm) {
    Product by = product(c);
    by.use_plain = by.use_plain || norm > static_cast<double>(FLT_MAX);
    if (norm > 0x1p+1023 && by.pre == 1.0) {
        by.pre = 0.25;
        by.factor *= 4.0;
    }
    return by;
}

}  // namespace

Outcome clip_update(std::span<const Buffer> now, std::span<const Buffer> before, const Request& request) {
    FpuGuard fpu;
    thread_local NormPlan plan;
    plan.make_chunks(now);
    for (const Buffer& b : before) make_room(b);
    const Pairs pairs(now, before);

    Norm norm = pairs.norm(plan);
    const bool nonfinite = !is_finite(norm.hi);
    const Nonfinite policy = request.nonfinite;
    if (nonfinite && policy == Nonfinite::raise) return {value(norm), true};
    if (nonfinite && policy == Nonfinite::skip) return {value(norm), false};
    if (nonfinite && policy == Nonfinite::zero) {
        pairs.change(
            plan, [](const Kernels& k, char* x, const char* y, std::int64_t n) { k.drop_nonfinite_update(x, y, n); });
        norm = pairs.norm(plan);
    }
    const Coefficient c = judge(request, norm, nonfinite, 0, coarsest_round(now));
    if (!c.clip) return {value(norm), false};
    const Product by = product_of_differences(c, value(norm));
    const Walk walk = walk_for(2 * total_bytes(now), true);
    pairs.change(plan,
                 [&](const Kernels& k, char* x, const char* y, std::int64_t n) { k.scale_update(x, y, n, by, walk); });
    return {value(norm), false};
}

}  // namespace fastclip
