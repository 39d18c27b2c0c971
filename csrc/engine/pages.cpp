// SPDX-License-Identifier: BSD-3-Clause
#include "engine/pages.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "core/dtype.hpp"
#include "engine/plan.hpp"

#if !defined(_WIN32)
#include <sys/mman.h>
#endif

namespace fastclip {
namespace {

constexpr std::uintptr_t kGap = 256;  // bytes at most between two neighbours: their allocator's headers and alignment

}  // namespace

void prefer_huge_pages([[maybe_unused]] void* data, [[maybe_unused]] std::int64_t bytes) noexcept {
#if defined(MADV_HUGEPAGE)
    if (bytes < kHugeFrom) return;
    const auto at = reinterpret_cast<std::uintptr_t>(data), page = static_cast<std::uintptr_t>(kHugePage);
    const std::uintptr_t first = (at + page - 1) / page * page;
    const std::uintptr_t end = (at + static_cast<std::uintptr_t>(bytes)) / page * page;
    madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);  // if it is refused, small pages serve
#endif
}

void prefer_huge_pages(std::span<const Buffer> list) {
    if (total_bytes(list) < kHugeFrom) return;
    std::vector<std::pair<std::uintptr_t, std::uintptr_t>> ranges;
    ranges.reserve(list.size());
    for (const Buffer& b : list) {
        if (!b.count) continue;  // it may be anywhere, and is no neighbour
        const auto at = reinterpret_cast<std::uintptr_t>(b.data);
        ranges.emplace_back(at, at + static_cast<std::uintptr_t>(b.count * info(b.dtype).size));
    }
    std::sort(ranges.begin(), ranges.end());
    for (std::size_t i = 0; i < ranges.size();) {
        auto [first, end] = ranges[i];
        for (++i; i < ranges.size() && ranges[i].first <= end + kGap; ++i) end = std::max(end, ranges[i].second);
        prefer_huge_pages(reinterpret_cast<void*>(first), static_cast<std::int64_t>(end - first));
    }
}

}  // namespace fastclip
