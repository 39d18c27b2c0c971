// SPDX-License-Identifier: BSD-3-Clause
#include "engine/norm.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/convert.hpp"
#include "engine/fpu.hpp"
#include "engine/ops.hpp"
#include "isa/dispatch.hpp"

namespace fastclip {
namespace {

Partial sumsq(const Piece& piece, double scale) {
    Partial p = {0.0, 0.0};
    with_elements(piece, [&](const char* x) {
        p = kernels()[piece.buffer->dtype].sumsq(x, piece.count, scale);
        return false;
    });
    return p;
}

template <class F>  // f(piece) for each chunk of the buffer
void for_each_chunk(const Buffer& b, F f) {
    for (std::int64_t at = 0; at < b.count; at += kChunk) f(Piece{&b, at, std::min(kChunk, b.count - at)});
}

Sum sum_of_buffer(const Buffer& b, double scale) {
    Total total;
    for_each_chunk(b, [&](const Piece& piece) { total.add(sumsq(piece, scale)); });
    return total.sum();
}

Norm norm_of_buffer(const Buffer& b, Sum total) {
    if (in_range(total, b.dtype == DType::f64)) return norm_of(total, 1.0);
    const double scale = scale_for(total);
    return norm_of(sum_of_buffer(b, scale), scale);
}

struct PieceStats {
    Partial sumsq, sumabs;
    double maxabs;
    Counts counts;
};

PieceStats stats_of(const Piece& piece) {
    PieceStats s = {};
    with_elements(piece, [&](const char* x) {
        const Kernels& k = kernels()[piece.buffer->dtype];
        s = {k.sumsq(x, piece.count, 1.0), k.sumabs(x, piece.count), k.maxabs(x, piece.count),
             k.counts(x, piece.count)};
        return false;
    });
    return s;
}

}  // namespace

bool in_range(Sum total, bool any_f64) { return !any_f64 || !(total.hi > kSafeMax || total.hi < kSafeMin); }

double larger(double a, double b) { return std::isnan(a) || a > b ? a : b; }

double as_number(Sum s) { return is_finite(s.hi) ? s.hi + s.lo : s.hi; }

void NormPlan::reserve(std::span<const Buffer> list) {
    make_chunks(list);
    partials_.reserve(pieces.size());
}

Norm NormPlan::norm() { return norm_by(sumsq); }

Norm norm_of_buffer(const Buffer& b) { return norm_of_buffer(b, sum_of_buffer(b, 1.0)); }

void norms_of_four(const Buffer* const (&four)[4], Norm* to, const Waiting* waiting) {
    const void* const data[] = {four[0]->data, four[1]->data, four[2]->data, four[3]->data};
    Partial sums[4];
    kernels()[four[0]->dtype].sumsq_four(data, four[0]->count, sums, waiting);
    for (int b = 0; b < 4; ++b) {
        Total total;
        total.add(sums[b]);
        to[b] = norm_of_buffer(*four[b], total.sum());
    }
}

double norm_list(std::span<const Buffer> list) {
    FpuGuard fpu;
    thread_local NormPlan plan;
    plan.make_chunks(list);
    return value(plan.norm());
}

void store(double x, const Buffer& to) {
    FpuGuard fpu;
    switch (to.dtype) {
#define FASTCLIP_STORE(tag, type, bits, largest)        \
    case DType::tag: {                                  \
        type rounded;                                   \
        round_once(rounded, x);                         \
        std::memcpy(to.data, &rounded, sizeof rounded); \
        break;                                          \
    }
        FASTCLIP_DTYPES(FASTCLIP_STORE)
#undef FASTCLIP_STORE
        case DType::count_:
            break;
    }
}

ListStats measure(std::span<const Buffer> list) {
    FpuGuard fpu;
    NormPlan plan;
    plan.make_chunks(list);
    std::vector<PieceStats> stats(plan.pieces.size());
    parallel_for(plan.partition, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i)
            stats[static_cast<std::size_t>(i)] = stats_of(plan.pieces[static_cast<std::size_t>(i)]);
    });

    ListStats result = {0.0, 0.0, 0.0, {}};
    result.each.reserve(list.size());
    Total all, all_abs;
    bool any_f64 = false;
    auto next = stats.begin();
    for (const Buffer& b : list) {
        any_f64 = any_f64 || b.dtype == DType::f64;
        Total sumsq, sumabs;
        BufferStats s = {0.0, 0.0, 0.0, 0, 0};
        for_each_chunk(b, [&](const Piece&) {
            sumsq.add(next->sumsq);
            sumabs.add(next->sumabs);
            all.add(next->sumsq);
            all_abs.add(next->sumabs);
            s.maxabs = larger(s.maxabs, next->maxabs);
            s.nonfinite += next->counts.nonfinite;
            s.zeros += next->counts.zeros;
            ++next;
        });
        s.norm = value(norm_of_buffer(b, sumsq.sum()));
        s.sumabs = as_number(sumabs.sum());
        result.each.push_back(s);
        result.maxabs = larger(result.maxabs, s.maxabs);
    }
    result.norm = value(in_range(all.sum(), any_f64) ? norm_of(all.sum(), 1.0) : plan.norm());
    result.sumabs = as_number(all_abs.sum());
    return result;
}

}  // namespace fastclip
