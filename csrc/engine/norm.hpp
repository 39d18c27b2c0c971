// SPDX-License-Identifier: BSD-3-Clause
// Sums of squares over pieces, combined in list order whatever thread made them.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "core/kernel_table.hpp"
#include "core/rule.hpp"
#include "engine/plan.hpp"

namespace fastclip {

// A running total of partial sums; the order of add() is the order of summation.
class Total {
  public:
    void add(const Partial& p) {
        const Sum s = two_sum(sum_.hi, p.hi);
        sum_ = {s.hi, sum_.lo + (s.lo + p.lo)};
    }
    Sum sum() const { return sum_; }

  private:
    Sum sum_ = {0.0, 0.0};
};

double as_number(Sum s);
double larger(double a, double b);  // NaN wins

// Did the squares of unscaled f64 elements stay in range? (f32's always do.)
bool in_range(Sum total, bool any_f64);

inline double scale_for(Sum total) { return total.hi > kSafeMax ? kShrink : kGrow; }

// f32 squares are in range as they are. Where a list is scaled they are nothing beside f64's (shrunk) or all 0 (grown).
inline Partial rescaled(const Partial& p, double scale) { return {p.hi * scale * scale, p.lo * scale * scale}; }

// A chunk plan that can tell the norm of its elements.
class NormPlan : public Plan {
  public:
    Norm norm();
    void reserve(std::span<const Buffer> list);  // so that make_chunks and norm() need no more memory for it

    template <class F>  // of whatever f(piece, scale) returns the sum of squares; the scale is a power of two
    Norm norm_by(F f) {
        partials_.resize(pieces.size());
        const auto sum = [&](double scale) {
            parallel_for(partition, [&](std::int64_t begin, std::int64_t end) {
                for (std::int64_t i = begin; i < end; ++i) {
                    const Piece& piece = pieces[static_cast<std::size_t>(i)];
                    Partial& p = partials_[static_cast<std::size_t>(i)];
                    const bool again = scale != 1.0 && piece.buffer->dtype != DType::f64;
                    p = again ? rescaled(p, scale) : f(piece, scale);
                }
            });
            Total total;
            for (const Partial& p : partials_) total.add(p);
            return total.sum();
        };
        const bool any_f64 =
            std::any_of(pieces.begin(), pieces.end(), [](const Piece& p) { return p.buffer->dtype == DType::f64; });
        const Sum total = sum(1.0);
        if (in_range(total, any_f64)) return norm_of(total, 1.0);
        const double scale = scale_for(total);
        return norm_of(sum(scale), scale);
    }

  private:
    std::vector<Partial> partials_;  // 16 bytes for each 128 KB and array
};

Norm norm_of_buffer(const Buffer& buffer);  // by the calling thread alone
// Of four dense buffers of one dtype and size, at most a chunk each; meanwhile four others like them are scaled.
void norms_of_four(const Buffer* const (&four)[4], Norm* to, const Waiting* waiting);

}  // namespace fastclip
