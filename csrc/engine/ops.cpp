// SPDX-License-Identifier: BSD-3-Clause
#include "engine/ops.hpp"

#include <algorithm>
#include <cmath>
#include <new>

#include "engine/fpu.hpp"
#include "engine/job.hpp"
#include "engine/judge.hpp"
#include "engine/norm.hpp"

namespace fastclip {
namespace {

// Buffers up to this are read, judged and written by one thread in one go, while they are in its cache.
constexpr std::int64_t kWholeElements = 4 * kChunk;

Coefficient judge_whole(const Buffer& b, const Norm& norm, const Request& request) {
    return judge(request, norm, !is_finite(norm.hi), b.count, info(b.dtype).round);
}

void clip_whole(const Job& job, const Piece& piece, const Request& request) {
    const Buffer& src = *piece.buffer;
    const Coefficient c = judge_whole(src, norm_of_buffer(src), request);
    if (!job.writes(piece) || (!c.clip && job.in_place())) return;
    const Product by = product(c);
    for (std::int64_t at = 0; at < src.count; at += kChunk)
        scale_piece({&src, at, std::min(kChunk, src.count - at)}, job.target(piece), by, Walk::in_cache);
}

bool alike(std::span<const Piece> pieces) {
    const Buffer& first = *pieces[0].buffer;
    return std::all_of(pieces.begin(), pieces.end(), [&](const Piece& piece) {
        const Buffer& b = *piece.buffer;
        return !b.layout && b.dtype == first.dtype && b.count == first.count && b.count <= kChunk;
    });
}

// Buffers like each other, four at a time: while four are read, the last four are written.
class Fours {
  public:
    Fours(const Job& job, const Request& request) : job_(job), request_(request) {}
    ~Fours() { finish(); }

    bool take(std::span<const Piece> four) {
        if (job_.walk() == Walk::in_cache || !alike(four)) return false;
        const Buffer& b = *four[0].buffer;
        if (like_ && (like_->dtype != b.dtype || like_->count != b.count)) finish();
        Norm norms[4];
        norms_of_four({&b, four[1].buffer, four[2].buffer, four[3].buffer}, norms, like_ ? waiting_ : nullptr);
        like_ = &b;
        for (int i = 0; i < 4; ++i) {
            const Piece& piece = four[static_cast<std::size_t>(i)];
            const Coefficient c = judge_whole(*piece.buffer, norms[i], request_);
            const bool written = job_.writes(piece) && (c.clip || !job_.in_place());
            waiting_[i] = {written ? job_.target(piece).data : nullptr, piece.buffer->data, product(c)};
        }
        return true;
    }

    void finish() {
        if (!like_) return;
        for (const Waiting& w : waiting_)
            if (w.dst) kernels()[like_->dtype].scale(w.dst, w.src, like_->count, w.by, Walk::in_cache);
        like_ = nullptr;
    }

  private:
    const Job& job_;
    const Request& request_;
    const Buffer* like_ = nullptr;  // null: nothing waits
    Waiting waiting_[4];
};

void clip_run(const Job& job, std::span<const Piece> pieces, const Request& request) {
    Fours fours(job, request);
    while (!pieces.empty()) {
        const bool four = pieces.size() >= 4 && fours.take(pieces.first(4));
        if (!four) clip_whole(job, pieces[0], request);
        pieces = pieces.subspan(four ? 4 : 1);
    }
}

NormPlan& list_plan() {
    thread_local NormPlan plan;
    return plan;
}

// Buffers that are clipped one after the other must not run out of memory between two of them.
void reserve_for_largest(std::span<const Buffer> list) {
    const auto smaller = [](const Buffer& a, const Buffer& b) { return a.count < b.count; };
    const auto largest = std::max_element(list.begin(), list.end(), smaller);
    if (largest != list.end()) list_plan().reserve({&*largest, 1});
    for (const Buffer& b : list) make_room(b);
}

}  // namespace

Outcome clip_list(std::span<const Buffer> src, std::span<const Buffer> dst, const Request& request) {
    FpuGuard fpu;
    NormPlan& plan = list_plan();
    plan.make_chunks(src);
    const Job job(src, dst);

    const Nonfinite policy = request.nonfinite;
    const bool reads =
        !request.use_norm || policy == Nonfinite::raise || policy == Nonfinite::skip || policy == Nonfinite::zero;
    const Norm read = reads ? plan.norm() : Norm{0.0, 0.0, 1.0};
    Norm norm = request.use_norm ? Norm{*request.use_norm, 0.0, 1.0} : read;
    const bool nonfinite = !is_finite(read.hi);
    if (nonfinite) {
        if (policy == Nonfinite::raise) return {value(norm), true};
        if (policy == Nonfinite::skip) return {value(norm), false};
        if (policy == Nonfinite::zero) {
            job.drop_nonfinite(plan);
            if (!is_finite(norm.hi)) norm = plan.norm();
        }
    }
    std::int64_t count = 0;
    for (const Buffer& b : src) count += b.count;
    const Coefficient c = judge(request, norm, nonfinite, count, coarsest_round(src));
    if (c.clip)
        job.scale(plan, product(c));
    else if (!job.in_place())
        job.copy(plan);
    return {value(norm), false};
}

void clip_each(std::span<const Buffer> src, std::span<const Buffer> dst, const Request& request) {
    FpuGuard fpu;
    thread_local Plan plan;
    plan.make_whole(src, kWholeElements);
    reserve_for_largest(src);
    const Job job(src, dst);
    job.for_each_run(plan, [&](std::span<const Piece> pieces) { clip_run(job, pieces, request); });
    for (std::size_t i = 0; i < src.size(); ++i) {
        if (src[i].count <= kWholeElements || (dst.empty() && src[i].repeat)) continue;
        clip_list(src.subspan(i, 1), dst.empty() ? dst : dst.subspan(i, 1), request);
    }
}

void clamp_list(std::span<const Buffer> src, std::span<const Buffer> dst, double lo, double hi) {
    FpuGuard fpu;
    thread_local Plan plan;
    plan.make_chunks(src);
    const Job job(src, dst);
    if (std::isnan(lo) || std::isnan(hi)) return job.scale(plan, product(kAllNan));
    job.for_each(plan, [&](const Piece& piece, const Buffer& to) {
        const Kernels& k = kernels()[to.dtype];
        const std::int64_t size = info(to.dtype).size;
        with_elements(piece, [&](char* x) {
            if (!job.in_place()) {
                k.clamp(to.data + piece.offset * size, x, piece.count, lo, hi, job.walk());
                return false;
            }
            const std::int64_t first = k.first_outside(x, piece.count, lo, hi, job.walk());
            if (first == piece.count) return false;  // nothing to write
            k.clamp(x + first * size, x + first * size, piece.count - first, lo, hi, job.walk());
            return true;
        });
    });
}

void scale_list(std::span<const Buffer> src, std::span<const Buffer> dst, double coefficient) {
    FpuGuard fpu;
    NormPlan& plan = list_plan();
    plan.make_chunks(src);
    Job(src, dst).scale(plan, product_of(coefficient));
}

void clamp_between(const Buffer& src, const Buffer& dst, const char* lo, const char* hi) {
    FpuGuard fpu;
    thread_local Plan plan;
    const std::span<const Buffer> list(&src, 1);
    plan.make_chunks(list);
    const Job job(list, dst.data == src.data ? std::span<const Buffer>{} : std::span(&dst, 1));
    job.for_each(plan, [&](const Piece& piece, const Buffer& to) {
        const std::int64_t at = piece.offset * info(to.dtype).size;
        kernels()[to.dtype].clamp_between(to.data + at, src.data + at, piece.count, lo + at, hi + at, job.walk());
    });
}

}  // namespace fastclip
