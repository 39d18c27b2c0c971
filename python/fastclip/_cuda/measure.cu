// SPDX-License-Identifier: BSD-3-Clause
// What one read of each array tells. Sums of f16, bf16 and f32 are formed in f64 over a lane's vectors, up to 32
// elements, which leaves them right to 2^-48; those sums, and elements of f64, are added in double-double.
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

// N vectors of a lane; false, and nothing is counted, if an element is not finite.
template <int D, u32 N>  // f16, bf16, f32
FASTCLIP_INLINE bool measure_finite(Statistics& s, const uint4 (&v)[N]) {
    double squares = 0.0, magnitudes = 0.0;
    u32 largest = 0, zeros = 0;
#pragma unroll
    for (u32 n = 0; n < N; ++n) {
        const u32 words[4] = {v[n].x, v[n].y, v[n].z, v[n].w};
#pragma unroll
        for (u32 j = 0; j < kPerVector<D>; ++j) {
            const u32 bits = bits_of(Element<D>::load(Element<D>::get(words, j))) & 0x7fffffffu;
            const double x = widen(float_of(bits));
            squares = fma(x, x, squares);
            magnitudes += x;
            largest = bits > largest ? bits : largest;
            zeros += bits == 0;
        }
    }
    if (largest >= 0x7f800000u) return false;
    s.zeros += zeros;
    if (largest == 0) return true;
    add_plain(s.squares, squares);
    add_magnitude(s, magnitudes, 0.0);
    s.largest = larger(s.largest, widen(float_of(largest)));
    return true;
}

template <int D, u32 N>
FASTCLIP_INLINE void measure_vectors(Statistics& s, const uint4* at) {
    uint4 v[N];
#pragma unroll
    for (u32 n = 0; n < N; ++n) v[n] = read_only(at + n * kWarp);
    if constexpr (D == kF64) {
#pragma unroll
        for (u32 n = 0; n < N; ++n) {
            measure_element<D>(s, double_of(v[n].y, v[n].x));
            measure_element<D>(s, double_of(v[n].w, v[n].z));
        }
    } else if (!measure_finite<D>(s, v)) {
#pragma unroll 1
        for (u32 n = 0; n < N; ++n) {
            const auto* elements = reinterpret_cast<const typename Element<D>::Stored*>(at + n * kWarp);
#pragma unroll 1
            for (u32 j = 0; j < kPerVector<D>; ++j) measure_element<D>(s, elements[j]);
        }
    }
}

template <int D>
FASTCLIP_INLINE void measure_run(Statistics& s, const char* data, u32 count, u32 lane) {
    using Stored = typename Element<D>::Stored;
    const Split<D> split = Split<D>::of(data, count);
    const Stored* head = global(reinterpret_cast<const Stored*>(data));
    if (lane < split.head) measure_element<D>(s, read_only(head + lane));
    const uint4* at = global(reinterpret_cast<const uint4*>(head + split.head));
    u32 i = lane;
#pragma unroll 1
    for (; i + 3 * kWarp < split.vectors; i += 4 * kWarp) measure_vectors<D, 4>(s, at + i);
#pragma unroll 1
    for (; i < split.vectors; i += kWarp) measure_vectors<D, 1>(s, at + i);
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
