// SPDX-License-Identifier: BSD-3-Clause
// Sums of squares that no element takes out of range, added in an order that the list alone decides: in double-double,
// but for lanes that have elements of f16, bf16 or f32 alone (total_of_lanes).
//
// Two squares of f32 (four of f16 or bf16, which are exact there) are added in f32 before they become f64: two
// roundings leave the sum right to 2^-23 and the norm to 2^-24, an ULP of f32 at most. One conversion and one f64
// addition for 8 bytes fit the chips that have a 64th of their arithmetic in f64; one for each element would not.
#pragma once

#include "common.cuh"

namespace fastclip {

// f32 squares that vanish err by 2^-150 each: 2^-45 of a sum of 32 that is not below 2^-100. The upper halves of that
// and of infinity tell as much as the numbers: one comparison of integers instead of two of f64.
constexpr u32 kPairsMin = (1023u - 100u) << 20, kPairsEnd = 0x7ff00000u;

// Elements of f64 are squared times 2^600 while all are below 2^-150, as they are up to 2^450, and then times 2^-600:
// what squares lose on the way down is below 2^-700 of the sum that made it necessary.
constexpr u32 kGrown = 0, kPlain = 1, kShrunk = 2;

FASTCLIP_INLINE double factor(u32 level) { return level == kPlain ? 1.0 : level == kGrown ? kGrow : kShrink; }

FASTCLIP_INLINE u32 level_for(u32 high) {  // the upper half of a magnitude in f64
    return high < (1023u - 150u) << 20 ? kGrown : high < (1023u + 450u) << 20 ? kPlain : kShrunk;
}

FASTCLIP_INLINE void lift(Total& t, u32 level) {
#pragma unroll 1
    for (; t.level < level && t.level < kShrunk; ++t.level) {
        t.hi = t.hi * kShrink * kShrink;
        t.lo = t.lo * kShrink * kShrink;
    }
}

FASTCLIP_INLINE void add_term(Total& t, double term, double error) {
    const Sum s = two_sum(t.hi, term);
    t.hi = s.hi;
    t.lo += s.lo + error;
}

FASTCLIP_INLINE void merge(Total& t, Total other) {
    lift(t, other.level);
    lift(other, t.level);
    add_term(t, other.hi, other.lo);
    t.nonfinite |= other.nonfinite;
}

FASTCLIP_INLINE void add_plain(Total& t, double sum) {  // of squares that needed no factor; not 0
    if (t.level != kPlain) {
        lift(t, kPlain);
        if (t.level == kShrunk) sum = sum * kShrink * kShrink;
    }
    const Sum s = two_sum(t.hi, sum);
    t.hi = s.hi;
    t.lo += s.lo;
}

FASTCLIP_INLINE void add_square(Total& t, double x) {
    lift(t, level_for(high_of(x) & 0x7fffffffu));
    const double y = x * factor(t.level), square = y * y;
    add_term(t, square, fma(y, y, -square));
}

// An element that the fast ways leave out. `drop`: NaN and infinity count as 0, and it is noted that there are some.
template <int D>
FASTCLIP_INLINE void add_element(Total& t, typename Element<D>::Stored stored, bool drop) {
    double x = as_f64(Element<D>::load(stored));
    if (!is_finite(x)) {
        t.nonfinite = 1;
        if (drop) x = 0.0;
    }
    if constexpr (D == kF64)
        add_square(t, x);
    else if (x != 0.0)
        add_plain(t, x * x);
}

FASTCLIP_INLINE float pair(float a, float b) { return multiply_add(a, a, multiply(b, b)); }

template <int D>  // f16, bf16, f32
FASTCLIP_INLINE double squares(const uint4& v) {
    const u32 words[4] = {v.x, v.y, v.z, v.w};
    float pairs[kPerVector<D> / 2];
#pragma unroll
    for (u32 i = 0; i < kPerVector<D> / 2; ++i)
        pairs[i] =
            pair(Element<D>::load(Element<D>::get(words, 2 * i)), Element<D>::load(Element<D>::get(words, 2 * i + 1)));
    if constexpr (D == kF32)
        return widen(pairs[0]) + widen(pairs[1]);
    else
        return widen(add(pairs[0], pairs[1])) + widen(add(pairs[2], pairs[3]));
}

// Sparse gradients have many zeros. One by one they would take six times as long as other numbers.
template <u32 N>
FASTCLIP_INLINE bool are_zeros(const uint4 (&v)[N], u32 magnitude) {
    u32 any = 0;
#pragma unroll
    for (u32 i = 0; i < N; ++i) any |= v[i].x | v[i].y | v[i].z | v[i].w;
    return (any & magnitude) == 0;
}

// N vectors of a lane; false, and nothing is added, where they leave the range on the way.
template <int D, u32 N>
FASTCLIP_INLINE bool add_vectors(Total& t, const uint4 (&v)[N]) {
    if constexpr (D == kF64) {
        u32 high = 0;
#pragma unroll
        for (u32 i = 0; i < N; ++i) {
            const u32 a = v[i].y & 0x7fffffffu, b = v[i].w & 0x7fffffffu;
            high = high > a ? high : a;
            high = high > b ? high : b;
        }
        if (high >= 0x7ff00000u) return false;
        lift(t, level_for(high));
        const double by = factor(t.level);
#pragma unroll
        for (u32 i = 0; i < N; ++i) {
            const double x = double_of(v[i].y, v[i].x) * by, y = double_of(v[i].w, v[i].z) * by;
            add_term(t, x * x, fma(x, x, -(x * x)));
            add_term(t, y * y, fma(y, y, -(y * y)));
        }
    } else {
        double sum = squares<D>(v[0]);
#pragma unroll
        for (u32 i = 1; i < N; ++i) sum += squares<D>(v[i]);
        if (high_of(sum) - kPairsMin >= kPairsEnd - kPairsMin)
            return are_zeros(v, D == kF32 ? 0x7fffffffu : 0x7fff7fffu);
        add_plain(t, sum);
    }
    return true;
}

// The same, element by element. They are read again (from L1): an array of registers with a variable index would be in
// local memory for everybody.
template <int D>
FASTCLIP_INLINE void add_one_by_one(Total& t, const uint4* at, u32 vectors, bool drop) {
#pragma unroll 1
    for (u32 i = 0; i < vectors; ++i) {
        const auto* elements = reinterpret_cast<const typename Element<D>::Stored*>(at + i * kWarp);
#pragma unroll 1
        for (u32 j = 0; j < kPerVector<D>; ++j) add_element<D>(t, elements[j], drop);
    }
}

// How elements are read, and what becomes of a lane's vectors i, i + 32, ...: nothing, or they are kept.
struct Discard {
    template <class T>
    __device__ static T load(const T* at) {
        return read_only(at);
    }
    template <u32 N>
    __device__ void operator()(u32, const uint4 (&)[N]) const {}
};

struct Copy {
    uint4* to;
    template <class T>
    __device__ static T load(const T* at) {  // what the same kernel writes later is not for the read-only cache
        return *at;
    }
    template <u32 N>
    __device__ void operator()(u32 i, const uint4 (&v)[N]) const {
#pragma unroll
        for (u32 n = 0; n < N; ++n) to[i + n * kWarp] = v[n];
    }
};

// A warp's share of the elements: vector i goes to lane i % 32, four rows of vectors at a time.
template <int D, class Keep = Discard>
FASTCLIP_INLINE void add_run(Total& t, const char* data, u32 count, u32 lane, bool drop, const Keep& keep = {}) {
    using Stored = typename Element<D>::Stored;
    const Split<D> split = Split<D>::of(data, count);
    const Stored* head = global(reinterpret_cast<const Stored*>(data));
    if (lane < split.head) add_element<D>(t, keep.load(head + lane), drop);
    const uint4* at = global(reinterpret_cast<const uint4*>(head + split.head));
#pragma unroll 1
    for (u32 i = lane; i < split.vectors;) {
        const bool four = i + 3 * kWarp < split.vectors;
        bool done;
        if (four) {
            const uint4 v[4] = {keep.load(at + i), keep.load(at + i + kWarp), keep.load(at + i + 2 * kWarp),
                                keep.load(at + i + 3 * kWarp)};
            keep(i, v);
            done = add_vectors<D>(t, v);
        } else {
            const uint4 v[1] = {keep.load(at + i)};
            keep(i, v);
            done = add_vectors<D>(t, v);
        }
        if (!done) add_one_by_one<D>(t, at + i, four ? 4 : 1, drop);
        i += four ? 4 * kWarp : kWarp;
    }
    const Stored* tail = head + (count - split.tail);
    if (lane < split.tail) add_element<D>(t, keep.load(tail + lane), drop);
}

FASTCLIP_INLINE void add_chunk(Total& t, const Plan& plan, const Chunk& chunk, bool drop) {
    const char* data = address(plan, chunk);
    const u32 lane = threadIdx.x % kWarp;
    with_dtype(chunk.dtype, [&](auto tag) { add_run<decltype(tag)::value>(t, data, chunk.count, lane, drop); });
}

// ---- over the threads of a warp and a block, always in the same order

FASTCLIP_INLINE Total total_below(const Total& t, u32 step) {
    return {__shfl_down_sync(kEveryLane, t.hi, step), __shfl_down_sync(kEveryLane, t.lo, step),
            __shfl_down_sync(kEveryLane, t.level, step), __shfl_down_sync(kEveryLane, t.nonfinite, step)};
}

FASTCLIP_INLINE Total warp_total(Total t, u32 lanes = kWarp) {  // right in the first of so many lanes
#pragma unroll 1
    for (u32 step = lanes / 2; step; step /= 2) merge(t, total_below(t, step));
    return t;
}

// The same of elements of one dtype. Squares of f16, bf16 and f32 are added in f64 alone, which leaves the norm right
// to 2^-49 with a tenth of the instructions. No such sum leaves f64's range: one that is not finite has an element that
// is not.
template <int D>
FASTCLIP_INLINE Total total_of_lanes(const Total& t, u32 lanes = kWarp) {
    if constexpr (D == kF64) {
        return warp_total(t, lanes);
    } else {
        double sum = is_finite(t.hi) ? t.hi + t.lo : t.hi;
#pragma unroll 1
        for (u32 step = lanes / 2; step; step /= 2) sum += __shfl_down_sync(kEveryLane, sum, step);
        return {sum, 0.0, sum == 0.0 ? kGrown : kPlain, is_finite(sum) ? 0u : 1u};  // f64 beside it may be tiny
    }
}

struct Scratch {
    Total warps[kWarps];
    u32 last;
};

FASTCLIP_INLINE Total block_total(Total t, Scratch& scratch) {  // of kThreads; right in thread 0
    const u32 lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    t = warp_total(t);
    if (lane == 0) scratch.warps[warp] = t;
    __syncthreads();
    if (warp == 0) t = warp_total(scratch.warps[lane % kWarps], kWarps);
    __syncthreads();  // before somebody writes its next total
    return t;
}

FASTCLIP_INLINE Total total_of_others(const Total* t) {
    return {written_by_others(&t->hi), written_by_others(&t->lo), written_by_others(&t->level),
            written_by_others(&t->nonfinite)};
}

// True in every lane of the warp that ends last of `count`, which then sees what lane 0 of all others has written.
FASTCLIP_INLINE bool is_last_warp(u32* counter, u32 count) {
    u32 ended = 0;
    if (threadIdx.x % kWarp == 0) {
        __threadfence();
        ended = atomicAdd(counter, 1u) + 1;
    }
    if (__shfl_sync(kEveryLane, ended, 0) != count) return false;
    __threadfence();
    return true;
}

// True in every thread of the block that ends last of `count`, which then sees what all others have written before a
// barrier.
FASTCLIP_INLINE bool is_last_block(u32* counter, u32 count, Scratch& scratch) {
    if (threadIdx.x == 0) {
        __threadfence();
        scratch.last = atomicAdd(counter, 1u) == count - 1;
    }
    __syncthreads();
    if (!scratch.last) return false;
    __threadfence();
    return true;
}

// The norm of a total. The factor is 1 wherever the sum's own range allows it, as on the CPU.
FASTCLIP_INLINE Norm norm_of_total(const Total& t) {
    if (t.level == kPlain || t.hi == 0.0 || !is_finite(t.hi)) return norm_of({t.hi, t.lo}, 1.0);
    const double back = t.level == kGrown ? kShrink : kGrow;
    const Sum plain = {t.hi * back * back, t.lo * back * back};
    if (plain.hi >= kSafeMin && plain.hi <= kSafeMax) return norm_of(plain, 1.0);
    return norm_of({t.hi, t.lo}, factor(t.level));
}

}  // namespace fastclip
