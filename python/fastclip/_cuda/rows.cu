// SPDX-License-Identifier: BSD-3-Clause
// Rows that fit into registers: each is read once, and written only if it is above the limit.
#include "change.cuh"
#include "common.cuh"
#include "total.cuh"
#include "verdict.cuh"

namespace fastclip {

struct Rows {
    char* data;
    i64 step;  // bytes from one row to the next
    u32 rows;
    u32 count;  // elements of a row, adjacent ones
    u32 dtype;
};

struct RowScratch {
    Scratch total;
    Verdict verdict;
};

template <u32 kGroup>  // threads to a row: a warp or a block
FASTCLIP_INLINE Verdict agree(Total t, const Request& request, u32 count, RowScratch& scratch) {
    if constexpr (kGroup == kWarp) {
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

template <int D, u32 kVectors, u32 kGroup>
FASTCLIP_INLINE void clip_row(char* data, u32 row, const Rows& rows, const Request& request, RowScratch& scratch) {
    using Stored = typename Element<D>::Stored;
    const u32 member = threadIdx.x % kGroup;
    const Split<D> split = Split<D>::of(data, rows.count);
    Stored* head = global(reinterpret_cast<Stored*>(data));
    Stored* tail = head + (rows.count - split.tail);
    uint4* at = global(reinterpret_cast<uint4*>(head + split.head)) + member;
    uint4 v[kVectors];
#pragma unroll
    for (u32 k = 0; k < kVectors; ++k)
        if (member + k * kGroup < split.vectors) v[k] = at[k * kGroup];
    Total mine = {0.0, 0.0, 0, 0};
    u32 missed = 0;
#pragma unroll
    for (u32 k = 0; k < kVectors; ++k)
        if (member + k * kGroup < split.vectors) {
            const uint4 one[1] = {v[k]};
            missed |= add_vectors<D>(mine, one) ? 0u : 1u << k;
        }
#pragma unroll 1
    for (u32 k = 0; missed >> k; ++k)
        if (missed >> k & 1) add_one_by_one<D>(mine, at + k * kGroup, 1, false);
    if (member < split.head) add_element<D>(mine, head[member], false);
    if (member < split.tail) add_element<D>(mine, tail[member], false);
    const Verdict verdict = agree<kGroup>(mine, request, rows.count, scratch);
    if (member == 0) publish(request, verdict, row);
    if (!verdict.by.clip) return;
    const Scale op(verdict);
#pragma unroll
    for (u32 k = 0; k < kVectors; ++k)
        if (member + k * kGroup < split.vectors) change_vector<D>(at + k * kGroup, v[k], op);
    if (member < split.head) change_element<D>(head + member, op);
    if (member < split.tail) change_element<D>(tail + member, op);
}

template <u32 kVectors, u32 kGroup>
FASTCLIP_INLINE void clip_rows(const Rows& rows, const Request& request, RowScratch& scratch) {
    constexpr u32 kAtOnce = kThreads / kGroup;
    for (u32 row = blockIdx.x * kAtOnce + threadIdx.x / kGroup; row < rows.rows; row += gridDim.x * kAtOnce) {
        char* data = rows.data + row * rows.step;
        with_dtype(rows.dtype, [&](auto tag) {
            clip_row<decltype(tag)::value, kVectors, kGroup>(data, row, rows, request, scratch);
        });
    }
}

}  // namespace fastclip

using namespace fastclip;

// Up to 2 KB a row.
extern "C" __global__ void __launch_bounds__(kThreads, 4) rows_warp(Rows rows, Request request) {
    FASTCLIP_SHARED(RowScratch, scratch);
    clip_rows<4, kWarp>(rows, request, scratch);
}

// Up to 16 KB a row.
extern "C" __global__ void __launch_bounds__(kThreads, 4) rows_block(Rows rows, Request request) {
    FASTCLIP_SHARED(RowScratch, scratch);
    clip_rows<4, kThreads>(rows, request, scratch);
}

// Up to 64 KB a row: half as many threads of a multiprocessor hold twice as many registers.
extern "C" __global__ void __launch_bounds__(kThreads, 2) rows_long(Rows rows, Request request) {
    FASTCLIP_SHARED(RowScratch, scratch);
    clip_rows<16, kThreads>(rows, request, scratch);
}
