// SPDX-License-Identifier: BSD-3-Clause
#include "engine/plan.hpp"

#include <algorithm>
#include <cstring>
#include <new>

namespace fastclip {
namespace {

constexpr std::int64_t kClaimBytes = 64 << 10;        // per claim; 64 to 512 KB measured equal in DRAM
constexpr std::int64_t kWholeClaimBytes = 512 << 10;  // of buffers whose scaling overlaps with reading the next ones

// Walks the elements of a layout in order, handing out runs along the innermost axis.
template <class Copy>
void walk(const Buffer& b, std::int64_t offset, std::int64_t count, Copy copy) {
    const Layout& l = *b.layout;
    const int inner = l.ndim - 1;
    std::int64_t index[kMaxDims];
    const char* at = b.data;
    for (int d = inner; d >= 0; --d) {
        index[d] = offset % l.shape[d];
        offset /= l.shape[d];
        at += index[d] * l.stride[d];
    }
    while (count > 0) {
        const std::int64_t run = std::min(count, l.shape[inner] - index[inner]);
        copy(const_cast<char*>(at), run, l.stride[inner]);
        count -= run;
        at += run * l.stride[inner];
        index[inner] += run;
        for (int d = inner; d > 0 && index[d] == l.shape[d]; --d) {
            at += l.stride[d - 1] - l.shape[d] * l.stride[d];
            index[d] = 0;
            ++index[d - 1];
        }
    }
}

template <std::size_t kSize>
void gather_run(char* dense, const char* at, std::int64_t run, std::int64_t stride) {
    for (std::int64_t i = 0; i < run; ++i) std::memcpy(dense + i * kSize, at + i * stride, kSize);
}

template <std::size_t kSize>
void scatter_run(const char* dense, char* at, std::int64_t run, std::int64_t stride) {
    for (std::int64_t i = 0; i < run; ++i) std::memcpy(at + i * stride, dense + i * kSize, kSize);
}

}  // namespace

void make_room(const Buffer& b) {
    if (b.layout && !scratch()) throw std::bad_alloc();
}

std::int64_t total_bytes(std::span<const Buffer> list) {
    std::int64_t total = 0;
    for (const Buffer& b : list) total += bytes(b);
    return total;
}

void Plan::make_chunks(std::span<const Buffer> list) {
    pieces.clear();
    std::int64_t total = 0;
    for (const Buffer& b : list) {
        make_room(b);
        total += bytes(b);
        for (std::int64_t at = 0; at < b.count; at += kChunk)
            pieces.push_back({&b, at, std::min(kChunk, b.count - at)});
    }
    share_out(total, kClaimBytes);
}

void Plan::make_whole(std::span<const Buffer> list, std::int64_t most) {
    pieces.clear();
    std::int64_t total = 0;
    for (const Buffer& b : list) {
        if (b.count == 0 || b.count > most) continue;
        total += bytes(b);
        pieces.push_back({&b, 0, b.count});
    }
    share_out(total, kWholeClaimBytes);
}

void Plan::share_out(std::int64_t total, std::int64_t claim) {
    const auto count = static_cast<std::int64_t>(pieces.size());
    Partition& p = partition;
    p.parts = threads_for(total);
    p.grain = std::max<std::int64_t>(1, count * claim / std::max<std::int64_t>(total, 1));
    p.bound[0] = 0;
    std::size_t next = 0;
    std::int64_t sum = 0;
    for (int t = 1; t < p.parts; ++t) {
        for (; sum < total / p.parts * t; ++next) sum += pieces[next].count * info(pieces[next].buffer->dtype).size;
        p.bound[t] = static_cast<std::int64_t>(next);
    }
    p.bound[p.parts] = count;
}

void gather_elements(const Buffer& b, std::int64_t offset, std::int64_t count, char* dense) {
    const std::int64_t size = info(b.dtype).size;
    walk(b, offset, count, [&](char* at, std::int64_t run, std::int64_t stride) {
        if (stride == size)
            std::memcpy(dense, at, static_cast<std::size_t>(run * size));
        else if (size == 2)
            gather_run<2>(dense, at, run, stride);
        else if (size == 4)
            gather_run<4>(dense, at, run, stride);
        else
            gather_run<8>(dense, at, run, stride);
        dense += run * size;
    });
}

void scatter_elements(const Buffer& b, std::int64_t offset, std::int64_t count, const char* dense) {
    const std::int64_t size = info(b.dtype).size;
    walk(b, offset, count, [&](char* at, std::int64_t run, std::int64_t stride) {
        if (stride == size)
            std::memcpy(at, dense, static_cast<std::size_t>(run * size));
        else if (size == 2)
            scatter_run<2>(dense, at, run, stride);
        else if (size == 4)
            scatter_run<4>(dense, at, run, stride);
        else
            scatter_run<8>(dense, at, run, stride);
        dense += run * size;
    });
}

}  // namespace fastclip
