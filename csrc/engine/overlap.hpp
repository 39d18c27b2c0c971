// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <span>

#include "core/buffer.hpp"

namespace fastclip {

// Marks buffers whose memory stands earlier in the list as repeats. False if two buffers' address ranges overlap
// otherwise, or a buffer might overlap itself: whether they share an element is then for the caller to find out.
bool mark_repeats(std::span<Buffer> list);

}  // namespace fastclip
