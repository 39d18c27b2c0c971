// SPDX-License-Identifier: BSD-3-Clause
// Memory for results: aligned to 64 bytes, on huge pages where it is large, and given out again.
//
// Fresh pages cost more than the work: 498 MB of results take 55 ms of page faults beside 38 ms for clipping into
// recycled ones. So a bounded number of bytes is kept for the next call, which in training asks for the same sizes.
#pragma once

#include <cstdint>

namespace fastclip::blocks {

inline constexpr std::int64_t kAlign = 64;

void* acquire(std::int64_t bytes);  // null: out of memory
void release(void* block) noexcept;
std::int64_t capacity(const void* block);

// Keep at most so many bytes; 0 keeps none and gives back what was kept.
void set_limit(std::int64_t bytes);
std::int64_t limit();
std::int64_t kept();  // bytes waiting to be given out again

}  // namespace fastclip::blocks
