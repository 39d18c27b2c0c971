// SPDX-License-Identifier: BSD-3-Clause
// A list to be written, piece by piece, in place or to other buffers.
#pragma once

#include <cmath>
#include <span>

#include "core/kernel_table.hpp"
#include "core/rule.hpp"
#include "engine/plan.hpp"
#include "isa/dispatch.hpp"

namespace fastclip {

// From this size on a call's data is taken for being in memory. In place between 4 MB (one stream is faster) and 16 MB
// (four are, twice), with 32 MB of L3. A result is stored past the cache when cache can't hold what it was made from
// and itself: at 16 MB of f32 that costs 1.2 times, at 32 MB it gains.
inline constexpr std::int64_t kInCache = 8 << 20;
inline constexpr std::int64_t kInCacheWithResult = 24 << 20;

inline Walk walk_for(std::int64_t bytes, bool in_place) {
    if (in_place) return bytes < kInCache ? Walk::in_cache : Walk::from_memory;
    return bytes < kInCacheWithResult ? Walk::from_memory : Walk::past_cache;
}

// A coefficient that another library's rule has formed; for all but f64 it is rounded to f32. 0 and NaN come out right
// of a product of f32, and so do all that keep clear of its subnormal numbers.
inline Product product_of(double coefficient) {
    const auto narrow = static_cast<float>(coefficient);
    const double plain = static_cast<double>(narrow);
    return {narrow, plain != 0.0 && std::abs(plain) < kPlainBelow, plain, 1.0, coefficient};
}

// The elements of one piece times the coefficient. `dst` is where the piece's buffer goes: itself, or a dense one.
inline void scale_piece(const Piece& piece, const Buffer& dst, const Product& c, Walk walk) {
    const DType dtype = dst.dtype;
    const std::int64_t at = piece.offset * info(dtype).size;
    with_elements(piece, [&](char* x) {
        kernels()[dtype].scale(&dst == piece.buffer ? x : dst.data + at, x, piece.count, c, walk);
        return true;
    });
}

// A list to be written in place or to other buffers.
class Job {
  public:
    Job(std::span<const Buffer> src, std::span<const Buffer> dst) : src_(src), dst_(dst) {
        walk_ = walk_for(total_bytes(src), in_place());
    }

    Walk walk() const { return walk_; }

    bool in_place() const { return dst_.empty(); }
    const Buffer& target(const Piece& piece) const {
        return in_place() ? *piece.buffer : dst_[static_cast<std::size_t>(piece.buffer - src_.data())];
    }
    bool writes(const Piece& piece) const { return !(in_place() && piece.buffer->repeat); }

    template <class F>  // f(pieces that follow each other, for one thread)
    void for_each_run(const Plan& plan, F f) const {
        parallel_for(plan.partition, [&](std::int64_t begin, std::int64_t end) {
            f(std::span(plan.pieces).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)));
        });
    }

    template <class F>  // f(piece, target)
    void for_each(const Plan& plan, F f) const {
        parallel_for(plan.partition, [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) {
                const Piece& piece = plan.pieces[static_cast<std::size_t>(i)];
                if (writes(piece)) f(piece, target(piece));
            }
        });
    }

    void scale(const Plan& plan, const Product& c) const {
        for_each(plan, [&](const Piece& piece, const Buffer& to) { scale_piece(piece, to, c, walk_); });
    }

    void copy(const Plan& plan) const {
        for_each(plan, [&](const Piece& piece, const Buffer& to) {
            if (to.data == piece.buffer->data) return;  // a strided array, copied when room was made for its result
            const std::int64_t size = info(to.dtype).size;
            kernels().copy(to.data + piece.offset * size, piece.buffer->data + piece.offset * size, piece.count * size,
                           walk_);
        });
    }

    void drop_nonfinite(const Plan& plan) const {
        for_each(plan, [](const Piece& piece, const Buffer& to) {
            with_elements(piece, [&](char* x) {
                kernels()[to.dtype].drop_nonfinite(x, piece.count);
                return true;
            });
        });
    }

  private:
    std::span<const Buffer> src_, dst_;
    Walk walk_;
};

}  // namespace fastclip
