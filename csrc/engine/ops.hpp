// SPDX-License-Identifier: BSD-3-Clause
// What fastclip does, over lists of buffers. Nothing here knows Python. Nothing throws but std::bad_alloc, and that
// before one byte is written.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/buffer.hpp"
#include "core/rule.hpp"

namespace fastclip {

// What non-finite elements (never a norm that overflowed) lead to.
enum class Nonfinite {
    propagate,  // as arithmetic has it: the coefficient is 0 for an infinite norm and NaN for NaN
    nan,        // every element becomes NaN
    raise,      // nothing is written; the caller raises
    skip,       // nothing is written
    zero,       // non-finite elements become 0, and the norm is that of the others
};

struct Request {
    Rule rule;
    double limit;
    Nonfinite nonfinite;
    std::optional<double> use_norm;
    bool average = false;  // the limit is for norm / count
};

struct Outcome {
    double norm;
    bool nonfinite;  // elements were, and the policy is raise: nothing was written
};

// `dst` is empty (in place) or has a dense buffer for each of `src`, which must then be dense too.
Outcome clip_list(std::span<const Buffer> src, std::span<const Buffer> dst, const Request& request);
// Each buffer by its own norm.
void clip_each(std::span<const Buffer> src, std::span<const Buffer> dst, const Request& request);
// Values below lo become lo, above hi become hi; with lo > hi all become lo, TensorFlow's order. A NaN bound: all NaN.
void clamp_list(std::span<const Buffer> src, std::span<const Buffer> dst, double lo, double hi);

// One dense buffer to another (or itself) by bounds of the same dtype for each element: NumPy's order, hi wins over lo.
void clamp_between(const Buffer& src, const Buffer& dst, const char* lo, const char* hi);

// Dense buffers to others, times a coefficient, rounded to f32 for all but f64.
void scale_list(std::span<const Buffer> src, std::span<const Buffer> dst, double coefficient);

double norm_list(std::span<const Buffer> list);
void store(double x, const Buffer& to);  // rounded to the buffer's dtype, into its one element

struct BufferStats {
    double norm, sumabs, maxabs;
    std::int64_t nonfinite, zeros;
};

struct ListStats {
    double norm, sumabs, maxabs;
    std::vector<BufferStats> each;
};

ListStats measure(std::span<const Buffer> list);  // one read

}  // namespace fastclip
