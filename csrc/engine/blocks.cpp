// SPDX-License-Identifier: BSD-3-Clause
#include "engine/blocks.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <list>
#include <map>
#include <mutex>

#include "engine/pages.hpp"

#if !defined(_WIN32)
#include <pthread.h>
#include <unistd.h>
#endif

namespace fastclip::blocks {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kKeepFrom = 64 << 10;    // smaller blocks are malloc's business, which recycles them itself
constexpr std::int64_t kMostKept = 1ll << 30;   // and at most a 16th of the machine's memory
constexpr auto kAge = std::chrono::seconds(5);  // what nobody wanted for so long goes back to the system

struct alignas(kAlign) Header {  // in front of every block
    void* base;                  // what free() wants
    std::int64_t capacity;
};

std::int64_t default_limit() {
#if !defined(_WIN32)
    const std::int64_t memory = static_cast<std::int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
    return std::min(kMostKept, memory / 16);
#else
    return kMostKept;
#endif
}

Header* make(std::int64_t bytes) {
    const std::int64_t align = bytes >= kHugeFrom ? kHugePage : kAlign;
    const std::int64_t capacity = (bytes + kAlign - 1) / kAlign * kAlign;
    // malloc and a shift by hand: for small blocks half the time of aligned_alloc
    void* base = std::malloc(static_cast<std::size_t>(capacity + align + kAlign));
    if (!base) return nullptr;
    const auto first = reinterpret_cast<std::uintptr_t>(base) + sizeof(Header);
    const auto data = (first + static_cast<std::uintptr_t>(align) - 1) / static_cast<std::uintptr_t>(align) *
                      static_cast<std::uintptr_t>(align);
    prefer_huge_pages(reinterpret_cast<void*>(data), capacity);
    auto* header = reinterpret_cast<Header*>(data) - 1;
    *header = {base, capacity};
    return header;
}

class Store {
  public:
    // A block of at least this size, and at most an eighth larger, if one is kept.
    Header* take(std::int64_t bytes) {
        const std::lock_guard<std::mutex> own(mutex_);
        drop_old();
        const auto at = by_size_.lower_bound(bytes);
        if (at == by_size_.end() || at->first > bytes + bytes / 8) return nullptr;
        Header* header = at->second->header;
        forget(at->second);
        return header;
    }

    bool keep(Header* header) {
        const std::lock_guard<std::mutex> own(mutex_);
        drop_old();
        if (header->capacity > limit_) return false;
        try {
            by_age_.push_back({header, Clock::now(), {}});
            const auto last = std::prev(by_age_.end());
            try {
                last->place = by_size_.emplace(header->capacity, last);
            } catch (...) {
                by_age_.pop_back();
                return false;
            }
        } catch (const std::bad_alloc&) {
            return false;
        }
        kept_ += header->capacity;
        shrink();
        return true;
    }

    void set_limit(std::int64_t bytes) {
        const std::lock_guard<std::mutex> own(mutex_);
        limit_ = bytes;
        shrink();
    }

    std::int64_t limit() {
        const std::lock_guard<std::mutex> own(mutex_);
        return limit_;
    }

    std::int64_t kept() {
        const std::lock_guard<std::mutex> own(mutex_);
        drop_old();
        return kept_;
    }

    void lock() { mutex_.lock(); }
    void unlock() { mutex_.unlock(); }

  private:
    struct Kept;
    using ByAge = std::list<Kept>;
    using BySize = std::multimap<std::int64_t, ByAge::iterator>;
    struct Kept {
        Header* header;
        Clock::time_point since;
        BySize::iterator place;
    };

    void forget(ByAge::iterator block) {
        kept_ -= block->header->capacity;
        by_size_.erase(block->place);
        by_age_.erase(block);
    }
    void drop_oldest() {
        void* base = by_age_.front().header->base;
        forget(by_age_.begin());
        std::free(base);
    }
    void drop_old() {
        if (by_age_.empty()) return;
        const auto now = Clock::now();
        while (!by_age_.empty() && now - by_age_.front().since > kAge) drop_oldest();
    }
    void shrink() {
        while (kept_ > limit_) drop_oldest();
    }

    std::mutex mutex_;
    ByAge by_age_;  // the oldest first
    BySize by_size_;
    std::int64_t kept_ = 0, limit_ = default_limit();
};

// Never destroyed: arrays may be freed after the end of main. A fork waits until the store is whole, so that the child
// has one that it can use.
Store& store() {
    static Store* const made = [] {
        static Store* the_store;
        the_store = new Store;
#if !defined(_WIN32)
        pthread_atfork([] { the_store->lock(); }, [] { the_store->unlock(); }, [] { the_store->unlock(); });
#endif
        return the_store;
    }();
    return *made;
}

}  // namespace

void* acquire(std::int64_t bytes) {
    Header* header = bytes >= kKeepFrom ? store().take(bytes) : nullptr;
    if (!header) header = make(bytes);
    return header ? header + 1 : nullptr;
}

void release(void* block) noexcept {
    Header* header = static_cast<Header*>(block) - 1;
    if (header->capacity < kKeepFrom || !store().keep(header)) std::free(header->base);
}

std::int64_t capacity(const void* block) { return (static_cast<const Header*>(block) - 1)->capacity; }

void set_limit(std::int64_t bytes) { store().set_limit(bytes); }
std::int64_t limit() { return store().limit(); }
std::int64_t kept() { return store().kept(); }

}  // namespace fastclip::blocks
