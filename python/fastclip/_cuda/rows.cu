// SPDX-License-Identifier: BSD-3-Clause
// Rows that fit into registers: each is read once, and written only if it is above the limit.
#include "rows.cuh"

namespace fastclip {

constexpr u32 kVectors = 4;  // that a thread holds; 16 would take the compiler ten times as long

struct RowScratch {
    Total warps[kWarps];
    Coefficient by;
};

// What one of the threads that share a row has of it: vectors, which stay in registers, and the elements before them
// and behind. They are kGroup, or `lanes` where that is 0: what is known here takes no registers.
template <int D, u32 kGroup>
struct Share {
    using Stored = typename Element<D>::Stored;
    Split<D> split;
    Stored *head, *tail;
    uint4* at;
    u32 lanes, member;

    __device__ Share(char* data, u32 count, u32 lanes, u32 member)
        : split(Split<D>::of(data, count)),
          head(global(reinterpret_cast<Stored*>(data))),
          tail(head + (count - split.tail)),
          at(global(reinterpret_cast<uint4*>(head + split.head)) + member),
          lanes(lanes),
          member(member) {}

    __device__ u32 group() const { return kGroup ? kGroup : lanes; }
    __device__ bool has(u32 k) const { return member + k * group() < split.vectors; }

    template <class F>  // f(element), of those in no vector
    __device__ void others(F&& f) const {
#pragma unroll 1
        for (u32 i = member; i < split.head; i += group()) f(head + i);
#pragma unroll 1
        for (u32 i = member; i < split.tail; i += group()) f(tail + i);
    }

    __device__ Total read(uint4 (&v)[kVectors]) const {
#pragma unroll
        for (u32 k = 0; k < kVectors; ++k) v[k] = has(k) ? at[k * group()] : uint4{0, 0, 0, 0};
        Total t = {0.0, 0.0, D == kF64 ? kGrown : kPlain, 0};  // no other dtype has squares that want a factor to grow
        u32 missed = 0;
        if constexpr (D == kF64) {  // all at once would take more registers than there are on sm_100
#pragma unroll
            for (u32 k = 0; k < kVectors; ++k) {
                const uint4 one[1] = {v[k]};
                if (has(k) && !add_vectors<D>(t, one)) missed |= 1u << k;
            }
        } else if (!add_vectors<D>(t, v)) {
            missed = (1u << kVectors) - 1;
        }
#pragma unroll 1
        for (u32 k = 0; missed >> k; ++k)
            if (has(k) && (missed >> k & 1)) add_one_by_one<D>(t, at + k * group(), 1, false);
        others([&](const Stored* x) { add_element<D>(t, *x, false); });
        return t;
    }

    __device__ void write(const uint4 (&v)[kVectors], const Scale& op) const {
#pragma unroll
        for (u32 k = 0; k < kVectors; ++k)
            if (has(k)) change_vector<D>(at + k * group(), v[k], op);
        others([&](Stored* x) { change_element<D>(x, op); });
    }
};

FASTCLIP_INLINE Total total_from(const Total& t, u32 lane) {
    return {__shfl_sync(kEveryLane, t.hi, lane), __shfl_sync(kEveryLane, t.lo, lane),
            __shfl_sync(kEveryLane, t.level, lane), __shfl_sync(kEveryLane, t.nonfinite, lane)};
}

template <u32 kGroup>
FASTCLIP_INLINE void clip_rows(const Rows& rows, const Request& request, RowScratch& scratch) {
    const u32 lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    for (u32 row = blockIdx.x; row < rows.rows; row += gridDim.x) {
        char* data = rows.data + row * rows.step;
        const auto share = [&](auto tag) {
            return Share<decltype(tag)::value, kGroup>(data, rows.count, kGroup, opaque(threadIdx.x));
        };
        uint4 v[kVectors];
        Total t;
        with_dtype(rows.dtype, [&](auto tag) { t = total_of_lanes<decltype(tag)::value>(share(tag).read(v)); });
        if (lane == 0) scratch.warps[warp] = t;
        __syncthreads();
        if (threadIdx.x == 0) {
#pragma unroll 1
            for (u32 w = 1; w < kGroup / kWarp; ++w) merge(t, scratch.warps[w]);
            scratch.by = coefficient_of_row(rows, request, t);
        }
        __syncthreads();
        const Coefficient by = scratch.by;  // the next row's barrier comes before its own is written
        if (!by.clip) continue;
        const Scale op(by);
        with_dtype(rows.dtype, [&](auto tag) { share(tag).write(v, op); });
    }
}

}  // namespace fastclip

using namespace fastclip;

// Each row up to 2 KB has lanes of a warp, a power of 2, the least that can hold it at 64 B each; the warp has as many
// rows as that makes.
extern "C" __global__ void __launch_bounds__(kThreads, 4) rows_warp(Rows rows, Request request) {
    const u32 lane = threadIdx.x % kWarp, at_once = kWarp / rows.lanes;
    for (u32 first = (blockIdx.x * kWarps + threadIdx.x / kWarp) * at_once; first < rows.rows;
         first += gridDim.x * kWarps * at_once) {
        const u32 row = first + lane / rows.lanes;
        const bool mine = row < rows.rows;
        char* data = rows.data + (mine ? row : first) * rows.step;
        const auto share = [&](auto tag) {
            return Share<decltype(tag)::value, 0>(data, mine ? rows.count : 0, rows.lanes, lane % rows.lanes);
        };
        uint4 v[kVectors];
        Total t;
        with_dtype(rows.dtype,
                   [&](auto tag) { t = total_of_lanes<decltype(tag)::value>(share(tag).read(v), rows.lanes); });
        t = total_from(t, lane & ~(rows.lanes - 1));
        const Coefficient by = coefficient_of_row(rows, request, t);
        if (by.clip) {
            const Scale op(by);
            with_dtype(rows.dtype, [&](auto tag) { share(tag).write(v, op); });
        }
    }
}

// Each row has a block, of as few warps as can hold it: the others would issue as much for nothing.
extern "C" __global__ void __launch_bounds__(64, 16) rows_2_warps(Rows rows, Request request) {
    FASTCLIP_SHARED(RowScratch, scratch);
    clip_rows<64>(rows, request, scratch);
}

extern "C" __global__ void __launch_bounds__(128, 8) rows_4_warps(Rows rows, Request request) {
    FASTCLIP_SHARED(RowScratch, scratch);
    clip_rows<128>(rows, request, scratch);
}

extern "C" __global__ void __launch_bounds__(256, 4) rows_8_warps(Rows rows, Request request) {
    FASTCLIP_SHARED(RowScratch, scratch);
    clip_rows<256>(rows, request, scratch);
}
