// SPDX-License-Identifier: BSD-3-Clause
// What is left of an array once the framework knowledge is gone.
#pragma once

#include <cstdint>

#include "core/dtype.hpp"

namespace fastclip {

// Elements that one kernel call takes. The chunks of a buffer start at its first element, so the order of
// summation depends on its size alone. 128 KB of f32: with 64 KB the pause between two chunks costs 10 to 20 % in
// cache, with 256 KB nothing is gained and lists of 1 MB share out badly.
inline constexpr std::int64_t kChunk = 32768;

inline constexpr int kMaxDims = 64;  // NumPy's own limit

// The elements of an array that is not one dense block, outermost axis first (by stride, so that a walk goes
// through memory as evenly as it can). Strides are in bytes and may be negative.
struct Layout {
    int ndim;
    std::int64_t shape[kMaxDims];
    std::int64_t stride[kMaxDims];
};

struct Buffer {
    char* data;            // the first element
    std::int64_t count;    // elements
    const Layout* layout;  // null: dense and aligned
    DType dtype;
    bool repeat;  // the same memory stands earlier in the list: it counts in the norm and is written once
};

inline std::int64_t bytes(const Buffer& b) { return b.count * info(b.dtype).size; }

}  // namespace fastclip
