// SPDX-License-Identifier: BSD-3-Clause
// Rows, and how those that registers can't hold are kept in the shared memory of one block, or of a cluster of them.
#pragma once

#include "change.cuh"
#include "common.cuh"
#include "total.cuh"
#include "verdict.cuh"

namespace fastclip {

struct Rows {
    char* data;
    i64 step;       // bytes from one row to the next
    double within;  // a sum of squares up to this is surely of a row within the limit
    u32 rows;
    u32 count;  // elements of a row, adjacent ones
    u32 dtype;
    u32 lanes;          // of a warp, a power of 2, that have a row which is kept in their registers
    u32 chunk, chunks;  // bytes of what a warp adds at a time, a power of 2, and how many a row has, in shared memory
};

// A root and its quotients are a third of a short row's instructions, and not for those within the limit.
FASTCLIP_INLINE Coefficient coefficient_of_row(const Rows& rows, const Request& request, const Total& total) {
    if (total.level != kShrunk && total.hi <= rows.within) return kKeep;
    return judge(request, total, rows.count, request.round).by;
}

// A warp adds a chunk as it does in norm_each, and the totals of all chunks are merged in norm_each's order: a row has
// the same bits where it is kept in one block, in a cluster or, on a chip that has room in neither, is read twice.
// Block `rank` of a cluster has the chunks rank, rank + kRanks, ...
template <u32 kRanks>
struct KeptRow {
    const Rows& rows;
    Coefficient* by;
    uint4* vectors;   // of the block's chunks
    Total* partials;  // likewise
    u32 rank, warp, lane;

    __device__ KeptRow(const Rows& rows, uint4* memory)
        : rows(rows),
          by(reinterpret_cast<Coefficient*>(memory)),
          vectors(memory + sizeof(Coefficient) / kVectorBytes),
          partials(
              reinterpret_cast<Total*>(vectors + (rows.chunks + kRanks - 1) / kRanks * (rows.chunk / kVectorBytes))),
          rank(blockIdx.x % kRanks),
          warp(threadIdx.x / kWarp),
          lane(threadIdx.x % kWarp) {
        static_assert(sizeof(Coefficient) % kVectorBytes == 0);
    }

    template <int D, class F>  // f(k, where the warp's chunk k begins, elements)
    __device__ void with_chunks(char* data, F&& f) const {
        const u32 per = rows.chunk / kSize<D>;
#pragma unroll 1
        for (u32 k = warp; k * kRanks + rank < rows.chunks; k += blockDim.x / kWarp) {
            const u32 c = k * kRanks + rank, left = rows.count - c * per;
            f(k, data + c * rows.chunk, left < per ? left : per);
        }
    }

    __device__ uint4* kept(u32 k) const { return vectors + k * (rows.chunk / kVectorBytes); }

    template <int D>
    __device__ void read(char* data) const {
        with_chunks<D>(data, [&](u32 k, const char* chunk, u32 count) {
            Total mine = {0.0, 0.0, 0, 0};
            add_run<D>(mine, chunk, count, lane, false, Copy{kept(k)});
            mine = total_of_lanes<D>(mine);
            if (lane == 0) partials[k] = mine;
        });
    }

    // What a lane takes from shared memory it has put there: no barrier is between. The elements before and behind the
    // vectors of a row at any address are read again, from L2.
    template <int D>
    __device__ void write(char* data, const Scale& op) const {
        with_chunks<D>(data, [&](u32 k, char* chunk, u32 count) {
            const Split<D> split = Split<D>::of(chunk, count);
            auto* head = global(reinterpret_cast<typename Element<D>::Stored*>(chunk));
            if (lane < split.head) change_element<D>(head + lane, op);
            uint4* at = global(reinterpret_cast<uint4*>(head + split.head));
#pragma unroll 1
            for (u32 i = lane; i < split.vectors; i += kWarp) change_vector<D>(at + i, kept(k)[i], op);
            if (lane < split.tail) change_element<D>(head + (count - split.tail + lane), op);
        });
    }

    __device__ static void meet() {
        if constexpr (kRanks == 1)
            __syncthreads();
        else
            cluster_barrier();
    }

    __device__ Total total_of(u32 c) const {
        const Total* t = partials + c / kRanks;
        if constexpr (kRanks == 1)
            return *t;
        else
            return {of_rank(&t->hi, c % kRanks), of_rank(&t->lo, c % kRanks), of_rank(&t->level, c % kRanks),
                    of_rank(&t->nonfinite, c % kRanks)};
    }

    __device__ void judge_row(const Request& request) const {
        if (warp != 0) return;
        Total all = {0.0, 0.0, 0, 0};
        for (u32 c = lane; c < rows.chunks; c += kWarp) merge(all, total_of(c));
        all = warp_total(all);
        if (lane == 0) *by = coefficient_of_row(rows, request, all);
    }
};

template <u32 kRanks>
FASTCLIP_INLINE void clip_kept_rows(const Rows& rows, const Request& request, uint4* memory) {
    const KeptRow<kRanks> kept(rows, memory);
    for (u32 row = blockIdx.x / kRanks; row < rows.rows; row += gridDim.x / kRanks) {
        char* data = rows.data + row * rows.step;
        with_dtype(rows.dtype, [&](auto tag) { kept.template read<decltype(tag)::value>(data); });
        kept.meet();
        kept.judge_row(request);
        kept.meet();  // and nobody reads this block's totals any more: it may write others, or end
        if (!kept.by->clip) continue;
        const Scale op(*kept.by);
        with_dtype(rows.dtype, [&](auto tag) { kept.template write<decltype(tag)::value>(data, op); });
    }
}

}  // namespace fastclip
