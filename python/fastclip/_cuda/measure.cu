// SPDX-License-Identifier: BSD-3-Clause
// What one read of each array tells, element by element: every sum in double-double, every count.
#include "common.cuh"
#include "total.cuh"

namespace fastclip {

struct Statistics {
    Total squares;
    double magnitudes, rest;  // their sum, unevaluated
    double largest;           // magnitude; NaN if any element is
    u64 nonfinite, zeros;
};

FASTCLIP_INLINE Statistics nothing() { return {{0.0, 0.0, 0, 0}, 0.0, 0.0, 0.0, 0, 0}; }

FASTCLIP_INLINE double larger(double a, double b) { return a > b || a != a ? a : b; }

FASTCLIP_INLINE void add_magnitude(Statistics& s, double x, double rest) {
    const Sum sum = two_sum(s.magnitudes, x);
    s.magnitudes = sum.hi;
    s.rest += sum.lo + rest;
}

FASTCLIP_INLINE void merge(Statistics& s, const Statistics& other) {
    merge(s.squares, other.squares);
    add_magnitude(s, other.magnitudes, other.rest);
    s.largest = larger(s.largest, other.largest);
    s.nonfinite += other.nonfinite;
    s.zeros += other.zeros;
}

template <int D>
FASTCLIP_INLINE void measure_element(Statistics& s, typename Element<D>::Stored stored) {
    const double x = as_f64(Element<D>::load(stored));
    add_element<D>(s.squares, stored, false);
    add_magnitude(s, fabs(x), 0.0);
    s.largest = larger(s.largest, fabs(x));
    s.nonfinite += !is_finite(x);
    s.zeros += x == 0.0;
}

template <int D>
FASTCLIP_INLINE void measure_run(Statistics& s, const char* data, u32 count, u32 lane) {
    using Stored = typename Element<D>::Stored;
    const Split<D> split = Split<D>::of(data, count);
    const Stored* head = global(reinterpret_cast<const Stored*>(data));
    if (lane < split.head) measure_element<D>(s, read_only(head + lane));
    const uint4* at = global(reinterpret_cast<const uint4*>(head + split.head));
#pragma unroll 1
    for (u32 i = lane; i < split.vectors; i += kWarp) {
        const uint4 v = read_only(at + i);
        const u32 words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
        for (u32 j = 0; j < kPerVector<D>; ++j) measure_element<D>(s, Element<D>::get(words, j));
    }
    if (lane < split.tail) measure_element<D>(s, read_only(head + (count - split.tail + lane)));
}

FASTCLIP_INLINE Statistics warp_statistics(Statistics s) {  // right in lane 0
#pragma unroll 1
    for (u32 step = kWarp / 2; step; step /= 2) {
        Statistics other;
        other.squares = total_below(s.squares, step);
        other.magnitudes = __shfl_down_sync(kEveryLane, s.magnitudes, step);
        other.rest = __shfl_down_sync(kEveryLane, s.rest, step);
        other.largest = __shfl_down_sync(kEveryLane, s.largest, step);
        other.nonfinite = __shfl_down_sync(kEveryLane, s.nonfinite, step);
        other.zeros = __shfl_down_sync(kEveryLane, s.zeros, step);
        merge(s, other);
    }
    return s;
}

FASTCLIP_INLINE Statistics statistics_of_others(const Statistics* s) {
    return {total_of_others(&s->squares),   written_by_others(&s->magnitudes), written_by_others(&s->rest),
            written_by_others(&s->largest), written_by_others(&s->nonfinite),  written_by_others(&s->zeros)};
}

}  // namespace fastclip

using namespace fastclip;

// As norm_each: a warp for each chunk, and the one that ends an array's last chunk adds them all in their order.
extern "C" __global__ void __launch_bounds__(kThreads, 4) measure(Plan plan, Statistics* partials, Statistics* arrays) {
    const u32 lane = threadIdx.x % kWarp, warps = gridDim.x * kWarps;
    for (u32 c = blockIdx.x * kWarps + threadIdx.x / kWarp; c < plan.chunk_count; c += warps) {
        const Chunk chunk = plan.chunks[c];
        const char* data = address(plan, chunk);
        Statistics mine = nothing();
        with_dtype(chunk.dtype, [&](auto tag) { measure_run<decltype(tag)::value>(mine, data, chunk.count, lane); });
        mine = warp_statistics(mine);
        if (lane == 0) partials[c] = mine;
        const u32 first = plan.firsts[chunk.array], end = plan.firsts[chunk.array + 1];
        if (!is_last_warp(plan.counters + chunk.array, end - first)) continue;
        Statistics all = nothing();
        for (u32 i = first + lane; i < end; i += kWarp) merge(all, statistics_of_others(partials + i));
        all = warp_statistics(all);
        if (lane != 0) continue;
        atomicExch(plan.counters + chunk.array, 0u);
        arrays[chunk.array] = all;
    }
}
