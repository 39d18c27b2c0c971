// SPDX-License-Identifier: BSD-3-Clause
// Columns of a matrix, each clipped by its own norm: adjacent lanes have adjacent columns, 16 bytes of them each where
// the matrix allows it, and go down the rows.
#include "change.cuh"
#include "common.cuh"
#include "total.cuh"
#include "verdict.cuh"

namespace fastclip {

struct Columns {
    char* data;
    i64 step, rows;     // bytes from one row to the next; how many
    Total* partials;    // of each slab and column
    Verdict* verdicts;  // of each column
    u32* counters;      // of each strip; 0 between two calls
    u32 columns, dtype;
    u32 width;  // columns of a lane: 1, or a vector's
    u32 share;  // rows of a warp
};

// A block has a strip of columns, a warp wide, and a slab of rows, of which each warp has a share.
struct Task {
    u32 strips, slabs;
    __device__ explicit Task(const Columns& c)
        : strips((c.columns + kWarp * c.width - 1) / (kWarp * c.width)),
          slabs((u32)((c.rows + kWarps * c.share - 1) / (kWarps * c.share))) {}
};

template <int D, u32 W>
struct Cells {  // of a lane, in one row
    using Stored = typename Element<D>::Stored;
    u32 words[4];

    __device__ void load(const char* at) {
        if constexpr (W == 1) {
            words[0] = 0;
            Element<D>::put(words, 0, *global(reinterpret_cast<const Stored*>(at)));
        } else {
            const uint4 v = *global(reinterpret_cast<const uint4*>(at));
            words[0] = v.x, words[1] = v.y, words[2] = v.z, words[3] = v.w;
        }
    }
    __device__ void store(char* at) const {
        if constexpr (W == 1)
            *global(reinterpret_cast<Stored*>(at)) = Element<D>::get(words, 0);
        else
            *global(reinterpret_cast<uint4*>(at)) = {words[0], words[1], words[2], words[3]};
    }
    __device__ Stored get(u32 j) const { return Element<D>::get(words, j); }
};

// Elements of a column in four rows: two pairs in f32, as in add_vectors, or one by one, read again from L1, where they
// leave the range.
template <int D, class Four>
FASTCLIP_INLINE void add_four(Total& t, const Four& four, u32 j, const char* at, i64 step) {
    if constexpr (D == kF64) {
#pragma unroll
        for (u32 i = 0; i < 4; ++i) add_element<D>(t, four[i].get(j), false);
    } else {
        const auto x = [&](u32 i) { return Element<D>::load(four[i].get(j)); };
        const double sum = widen(pair(x(0), x(1))) + widen(pair(x(2), x(3)));
        if (high_of(sum) - kPairsMin < kPairsEnd - kPairsMin) return add_plain(t, sum);
        if ((bits_of(x(0)) | bits_of(x(1)) | bits_of(x(2)) | bits_of(x(3))) << 1 == 0) return;  // zeros, as are_zeros
#pragma unroll 1
        for (u32 i = 0; i < 4; ++i) {
            Cells<D, 1> one;
            one.load(at + i * step + j * kSize<D>);
            add_element<D>(t, one.get(0), false);
        }
    }
}

template <int D, u32 W>
FASTCLIP_INLINE void add_share(Total (&t)[W], const char* at, i64 step, i64 rows) {
    i64 r = 0;
#pragma unroll 1
    for (; r + 3 < rows; r += 4) {
        Cells<D, W> four[4];
#pragma unroll
        for (u32 i = 0; i < 4; ++i) four[i].load(at + (r + i) * step);
#pragma unroll
        for (u32 j = 0; j < W; ++j) add_four<D>(t[j], four, j, at + r * step, step);
    }
#pragma unroll 1
    for (; r < rows; ++r) {
        Cells<D, W> one;
        one.load(at + r * step);
#pragma unroll
        for (u32 j = 0; j < W; ++j) add_element<D>(t[j], one.get(j), false);
    }
}

template <int D, u32 W>
FASTCLIP_INLINE void change_cells(Cells<D, W>& cells, char* at, const Scale (&op)[W]) {
    bool changed = false;
#pragma unroll
    for (u32 j = 0; j < W; ++j) {
        auto x = Element<D>::load(cells.get(j));
        if (op[j](x)) {
            Element<D>::put(cells.words, j, Element<D>::store(x));
            changed = true;
        }
    }
    if (changed) cells.store(at);
}

template <int D, u32 W>
FASTCLIP_INLINE void change_share(char* at, i64 step, i64 rows, const Scale (&op)[W]) {
    i64 r = 0;
#pragma unroll 1
    for (; r + 3 < rows; r += 4) {
        Cells<D, W> four[4];
#pragma unroll
        for (u32 i = 0; i < 4; ++i) four[i].load(at + (r + i) * step);
#pragma unroll
        for (u32 i = 0; i < 4; ++i) change_cells<D, W>(four[i], at + (r + i) * step, op);
    }
#pragma unroll 1
    for (; r < rows; ++r) {
        Cells<D, W> one;
        one.load(at + r * step);
        change_cells<D, W>(one, at + r * step, op);
    }
}

template <class F>  // f(Tag<dtype>(), Tag<width>())
FASTCLIP_INLINE void with_width(const Columns& c, F&& f) {
    with_dtype(c.dtype, [&](auto tag) {
        if (c.width == 1)
            f(tag, Tag<1>());
        else
            f(tag, Tag<kPerVector<decltype(tag)::value>>());
    });
}

// Where a warp's share begins in a lane's columns, and how many rows it has: none where the lane has no column.
struct Share {
    u32 column;
    i64 first, rows;

    __device__ Share(const Columns& c, u32 strip, u32 slab)
        : column((strip * kWarp + threadIdx.x % kWarp) * c.width),
          first(((i64)slab * kWarps + threadIdx.x / kWarp) * c.share),
          rows(0) {
        if (column >= c.columns || first >= c.rows) return;
        const i64 left = c.rows - first;
        rows = left < c.share ? left : c.share;
    }

    template <int D>
    __device__ char* at(const Columns& c) const {
        return c.data + first * c.step + (i64)column * kSize<D>;
    }
};

struct ColumnScratch {
    Total totals[kWarps][kWarp];
    Scratch block;
};

// The totals of a slab: those of its warps in their order.
template <u32 W>
FASTCLIP_INLINE void put_totals(const Columns& c, u32 slab, u32 column, const Total (&t)[W], ColumnScratch& scratch) {
    const u32 lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
#pragma unroll
    for (u32 j = 0; j < W; ++j) {
        scratch.totals[warp][lane] = t[j];
        __syncthreads();
        if (warp == 0 && column < c.columns) {
            Total all = scratch.totals[0][lane];
            for (u32 w = 1; w < kWarps; ++w) merge(all, scratch.totals[w][lane]);
            c.partials[(i64)slab * c.columns + column + j] = all;
        }
        __syncthreads();
    }
}

}  // namespace fastclip

using namespace fastclip;

// The block that ends a strip's last slab adds the totals of all slabs, in their order. How many there are, and a
// warp's share, depend on the shape alone: the same bits at every address, and whatever the chip.
extern "C" __global__ void __launch_bounds__(kThreads, 2) norm_columns(Columns c, Request request) {
    FASTCLIP_SHARED(ColumnScratch, scratch);
    const Task task(c);
    for (u32 i = blockIdx.x; i < task.strips * task.slabs; i += gridDim.x) {
        const u32 strip = i % task.strips, slab = i / task.strips;
        const Share share(c, strip, slab);
        with_width(c, [&](auto dtype, auto width) {
            constexpr int D = decltype(dtype)::value, W = decltype(width)::value;
            Total mine[W] = {};
            add_share<D, W>(mine, share.at<D>(c), c.step, share.rows);
            put_totals<W>(c, slab, share.column, mine, scratch);
        });
        if (!is_last_block(c.counters + strip, task.slabs, scratch.block)) continue;
        const u32 first = strip * kWarp * c.width, end = first + kWarp * c.width;
        for (u32 column = first + threadIdx.x; column < end && column < c.columns; column += kThreads) {
            Total all = total_of_others(c.partials + column);
            for (u32 s = 1; s < task.slabs; ++s) merge(all, total_of_others(c.partials + (i64)s * c.columns + column));
            c.verdicts[column] = judge(request, all, c.rows, request.round);
        }
        if (threadIdx.x == 0) atomicExch(c.counters + strip, 0u);
    }
}

// Backwards, as `scale`. Where no column of a lane is above the limit nothing is read, either.
extern "C" __global__ void __launch_bounds__(kThreads, 2) scale_columns(Columns c) {
    const Task task(c);
    for (u32 i = blockIdx.x; i < task.strips * task.slabs; i += gridDim.x) {
        const u32 k = task.strips * task.slabs - 1 - i;
        const Share share(c, k % task.strips, k / task.strips);
        if (share.rows == 0) continue;
        with_width(c, [&](auto dtype, auto width) {
            constexpr int D = decltype(dtype)::value, W = decltype(width)::value;
            Scale op[W];
            bool any = false;
#pragma unroll
            for (u32 j = 0; j < W; ++j) {
                op[j] = Scale(c.verdicts[share.column + j]);
                any = any || op[j].clip;
            }
            if (any) change_share<D, W>(share.at<D>(c), c.step, share.rows, op);
        });
    }
}
