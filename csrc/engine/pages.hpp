// SPDX-License-Identifier: BSD-3-Clause
// Huge pages for memory that is about to be written for the first time: a quarter of the time of small ones, which take
// the system 2 us each. NumPy asks for them, too.
#pragma once

#include <cstdint>
#include <span>

#include "core/buffer.hpp"

namespace fastclip {

inline constexpr std::int64_t kHugeFrom = 4 << 20;  // bytes from which on it is worth asking
inline constexpr std::int64_t kHugePage = 2 << 20;

// Nothing outside of the range is touched, and nothing happens where there are no huge pages.
void prefer_huge_pages(void* data, std::int64_t bytes) noexcept;

// The same for dense buffers that may lie one behind the other: an allocator leaves small gaps between them.
void prefer_huge_pages(std::span<const Buffer> list);

}  // namespace fastclip
