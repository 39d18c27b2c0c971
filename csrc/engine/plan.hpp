// SPDX-License-Identifier: BSD-3-Clause
// A list of buffers cut into pieces, and the pieces shared out to threads.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/buffer.hpp"
#include "engine/parallel.hpp"

namespace fastclip {

// At most one chunk of a buffer.
struct Piece {
    const Buffer* buffer;
    std::int64_t offset, count;  // elements
};

struct Plan {
    std::vector<Piece> pieces;  // in list order; 24 bytes for each 128 KB and array
    Partition partition;

    void make_chunks(std::span<const Buffer> list);
    void make_whole(std::span<const Buffer> list, std::int64_t most);  // the buffers of 1 to `most` elements

  private:
    void share_out(std::int64_t total, std::int64_t claim);  // in bytes
};

// A strided buffer goes through the scratch of the thread that takes the piece. The caller's is made here, where
// failing leaves everything untouched.
void make_room(const Buffer& buffer);

std::int64_t total_bytes(std::span<const Buffer> list);

// Copies elements [offset, offset + count) of a strided buffer, in the order of its layout.
void gather_elements(const Buffer& buffer, std::int64_t offset, std::int64_t count, char* dense);
void scatter_elements(const Buffer& buffer, std::int64_t offset, std::int64_t count, const char* dense);

inline constexpr std::size_t kChunkBytes = kChunk * sizeof(double);  // of any dtype
static_assert(kScratch >= 2 * kChunkBytes);

// Gives f the address of the piece's elements as one dense block. The elements of a strided buffer come as a copy,
// which is written back if f returns true; `room` says in which half of the scratch.
template <class F>
void with_elements(const Piece& piece, F&& f, std::size_t room = 0) {
    const Buffer& b = *piece.buffer;
    if (!b.layout) {
        f(b.data + piece.offset * info(b.dtype).size);
        return;
    }
    char* dense = scratch() + room * kChunkBytes;
    gather_elements(b, piece.offset, piece.count, dense);
    if (f(dense)) scatter_elements(b, piece.offset, piece.count, dense);
}

}  // namespace fastclip
