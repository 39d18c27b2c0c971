// SPDX-License-Identifier: BSD-3-Clause
// Sums of squares over pieces, combined in list order whatever thread made them.
#pragma once

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

// A chunk plan that can tell the norm of its elements.
class NormPlan : public Plan {
  public:
    Norm norm();
    void reserve(std::span<const Buffer> list);  // so that make_chunks and norm() need no more memory for it

  private:
    std::vector<Partial> partials_;  // 16 bytes for each 128 KB and array
};

Norm norm_of_buffer(const Buffer& buffer);  // by the calling thread alone
// Of four dense buffers of one dtype and size, at most a chunk each; meanwhile four others like them are scaled.
void norms_of_four(const Buffer* const (&four)[4], Norm* to, const Waiting* waiting);

// Did the squares of unscaled f64 elements stay in range? (f32's always do.)
bool in_range(Sum total, bool any_f64);

}  // namespace fastclip
