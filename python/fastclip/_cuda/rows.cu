// SPDX-License-Identifier: BSD-3-Clause
// Rows that fit into registers: each is read once, and written only if it is above the limit.
#include "rows.cuh"

namespace fastclip {

constexpr u32 kVectors = 4;  // that a thread holds; 16 would take the compiler ten times as long
constexpr u32 kMany = 1024;  // threads of the largest block: as many registers for each as with four blocks of 256

struct RowScratch {
    Scratch total;
    Verdict verdict;
};

template <bool kWide>  // a row has a block, or a warp
FASTCLIP_INLINE u32 group() {
    return kWide ? blockDim.x : kWarp;
}

template <bool kWide>
FASTCLIP_INLINE Verdict agree(Total t, const Request& request, u32 count, RowScratch& scratch) {
    if constexpr (!kWide) {
        t = warp_total(t);
        t = {__shfl_sync(kEveryLane, t.hi, 0), __shfl_sync(kEveryLane, t.lo, 0), __shfl_sync(kEveryLane, t.level, 0),
             __shfl_sync(kEveryLane, t.nonfinite, 0)};
        return judge(request, t, count, request.round);
    } else {
        t = block_total(t, scratch.total);
        if (threadIdx.x == 0) scratch.verdict = judge(request, t, count, request.round);
        __syncthreads();
        return scratch.verdict;  // block_total's barriers come before the next one is written
    }
}

// A thread's share of a row: vectors in registers, and at most one element before them and one behind.
template <int D>
struct Share {
    using Stored = typename Element<D>::Stored;
    u32 group, member, vectors;
    uint4* at;
    Stored *head, *tail;  // null: none

    __device__ Share(char* data, u32 count, u32 group) : group(group), member(threadIdx.x % group) {
        const Split<D> split = Split<D>::of(data, count);
        Stored* first = global(reinterpret_cast<Stored*>(data));
        vectors = split.vectors;
        at = global(reinterpret_cast<uint4*>(first + split.head)) + member;
        head = member < split.head ? first + member : nullptr;
        tail = member < split.tail ? first + (count - split.tail + member) : nullptr;
    }
    __device__ bool has(u32 k) const { return member + k * group < vectors; }
};

template <int D, bool kWide>
FASTCLIP_INLINE Total read_row(char* data, u32 count, uint4 (&v)[kVectors]) {
    const Share<D> share(data, count, group<kWide>());
#pragma unroll
    for (u32 k = 0; k < kVectors; ++k)
        if (share.has(k)) v[k] = share.at[k * share.group];
    Total t = {0.0, 0.0, D == kF64 ? kGrown : kPlain, 0};  // no other dtype has squares that want a factor to grow
    u32 missed = 0;
#pragma unroll
    for (u32 k = 0; k < kVectors; ++k)
        if (share.has(k)) {
            const uint4 one[1] = {v[k]};
            missed |= add_vectors<D>(t, one) ? 0u : 1u << k;
        }
#pragma unroll 1
    for (u32 k = 0; missed >> k; ++k)
        if (missed >> k & 1) add_one_by_one<D>(t, share.at + k * share.group, 1, false);
    if (share.head) add_element<D>(t, *share.head, false);
    if (share.tail) add_element<D>(t, *share.tail, false);
    return t;
}

template <int D, bool kWide>
FASTCLIP_INLINE void write_row(char* data, u32 count, const uint4 (&v)[kVectors], const Scale& op) {
    const Share<D> share(data, count, group<kWide>());
#pragma unroll
    for (u32 k = 0; k < kVectors; ++k)
        if (share.has(k)) change_vector<D>(share.at + k * share.group, v[k], op);
    if (share.head) change_element<D>(share.head, op);
    if (share.tail) change_element<D>(share.tail, op);
}

template <bool kWide>
FASTCLIP_INLINE void clip_rows(const Rows& rows, const Request& request, RowScratch& scratch) {
    constexpr u32 kAtOnce = kWide ? 1 : kWarps;
    for (u32 row = blockIdx.x * kAtOnce + (kWide ? 0 : threadIdx.x / kWarp); row < rows.rows;
         row += gridDim.x * kAtOnce) {
        char* data = rows.data + row * rows.step;
        uint4 v[kVectors];
        Total mine;
        with_dtype(rows.dtype, [&](auto tag) { mine = read_row<decltype(tag)::value, kWide>(data, rows.count, v); });
        const Verdict verdict = agree<kWide>(mine, request, rows.count, scratch);
        if (!verdict.by.clip) continue;
        const Scale op(verdict);
        with_dtype(rows.dtype, [&](auto tag) { write_row<decltype(tag)::value, kWide>(data, rows.count, v, op); });
    }
}

}  // namespace fastclip

using namespace fastclip;

// Up to 2 KB a row: a warp has it.
extern "C" __global__ void __launch_bounds__(kThreads, 4) rows_warp(Rows rows, Request request) {
    FASTCLIP_SHARED(RowScratch, scratch);
    clip_rows<false>(rows, request, scratch);
}

// Up to 64 B a thread: 16 KB for 256 threads, 64 KB for 1,024, which have all registers of a multiprocessor.
extern "C" __global__ void __launch_bounds__(kMany, 1) rows_block(Rows rows, Request request) {
    FASTCLIP_SHARED(RowScratch, scratch);
    clip_rows<true>(rows, request, scratch);
}
