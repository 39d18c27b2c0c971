// SPDX-License-Identifier: BSD-3-Clause
// The memory limit: how long one pass over the caller's own buffers takes when a pass does nothing but read them, or
// read them and write them back, or copy them elsewhere past the cache. Plain C ABI, loaded by limit.py.
//
// It has to be the fastest plain loop that there is, or "within 5 % of the limit" says nothing:
// - every loop body starts on a 64-byte bound, so that no load straddles two cache lines;
// - several widths and numbers of accumulators are offered, and the caller takes the best;
// - the threads live for one batch of passes, pinned apart, and meet in a spinning barrier after each pass (about
//   0.2 us), so neither starting nor waking a thread is counted. Between batches nothing of ours spins.

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include "limit/loops.hpp"

namespace {

constexpr int kSpins = 1 << 14;  // about 0.3 ms, then yield: the other thread may be waiting for this very core

enum Pass { kRead, kWrite, kCopy };

struct Span {
    char* data;
    char* copy;  // where a copy goes; data and copy are as far from a cache line's begin
    std::size_t bytes;
};

class Barrier {
  public:
    explicit Barrier(int threads) : threads_(threads) {}

    void wait() {
        if (threads_ == 1) return;
        const std::uint32_t turn = turn_.load(std::memory_order_acquire);
        if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
            arrived_.store(0, std::memory_order_relaxed);
            turn_.store(turn + 1, std::memory_order_release);
            return;
        }
        for (int spin = 0; turn_.load(std::memory_order_acquire) == turn; ++spin) {
            if (spin >= kSpins) {
                sched_yield();
                continue;
            }
#if defined(__x86_64__)
            _mm_pause();
#endif
        }
    }

  private:
    const int threads_;
    alignas(kLine) std::atomic<int> arrived_{0};
    alignas(kLine) std::atomic<std::uint32_t> turn_{0};
};

// One contiguous byte range of the whole list for each thread, as spans of the thread's own. Cuts fall on line bounds.
std::vector<std::vector<Span>> split(const std::uint64_t* pointers, const std::uint64_t* copies,
                                     const std::uint64_t* bytes, std::size_t count, int threads) {
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < count; ++i) total += bytes[i];
    const auto parts = static_cast<std::uint64_t>(threads);
    std::vector<std::vector<Span>> spans(parts);
    std::uint64_t done = 0;
    std::uint64_t part = 0;
    for (std::size_t i = 0; i < count; ++i) {
        std::uint64_t address = pointers[i];
        std::uint64_t copy = copies[i];
        std::uint64_t left = bytes[i];
        while (left > 0) {
            const std::uint64_t end = part + 1 < parts ? total * (part + 1) / parts : total;
            if (part + 1 < parts && done >= end) {
                ++part;
                continue;
            }
            const std::uint64_t room = end - done;
            const std::uint64_t take = std::min(left, room + (kLine - (address + room) % kLine) % kLine);
            spans[part].push_back(
                {reinterpret_cast<char*>(address), reinterpret_cast<char*>(copy), static_cast<std::size_t>(take)});
            address += take;
            copy += take;
            left -= take;
            done += take;
        }
    }
    return spans;
}

// The words before a span's first whole line are done one by one, the rest by the variant.
std::uint32_t run_pass(const std::vector<Span>& spans, const Variant& variant, Pass pass, std::uint32_t mask) {
    std::uint32_t seen = 0;
    for (const Span& span : spans) {
        const std::size_t to_line = (kLine - reinterpret_cast<std::uintptr_t>(span.data) % kLine) % kLine;
        const std::size_t head = std::min(to_line, span.bytes);
        const std::size_t rest = span.bytes - head;
        if (pass == kRead) {
            seen ^= read_words(span.data, head) ^ variant.read(span.data + head, rest);
        } else if (pass == kWrite) {
            write_words(span.data, head, mask);
            variant.write(span.data + head, rest, mask);
        } else {
            copy_words(span.data, span.copy, head);
            variant.copy(span.data + head, span.copy + head, rest);
        }
    }
    if (pass == kCopy) finish_copies();
    return seen;
}

// Workers keep off the caller's core. Left to the scheduler, a new thread may share it for several milliseconds.
void pin_apart(const std::vector<int>& cores, int caller, int worker) {
    std::vector<int> others;
    for (const int core : cores) {
        if (core != caller) others.push_back(core);
    }
    if (others.empty()) return;
    cpu_set_t mask;
    CPU_ZERO(&mask);
    CPU_SET(others[static_cast<std::size_t>(worker) % others.size()], &mask);
    sched_setaffinity(0, sizeof mask, &mask);
}

std::vector<int> allowed_cores() {
    cpu_set_t mask;
    CPU_ZERO(&mask);
    sched_getaffinity(0, sizeof mask, &mask);
    std::vector<int> cores;
    for (int core = 0; core < CPU_SETSIZE; ++core) {
        if (CPU_ISSET(core, &mask)) cores.push_back(core);
    }
    return cores;
}

volatile std::uint32_t g_zeros = 0;  // volatile: the compiler must not know that xor changes nothing
std::atomic<std::uint32_t> g_seen{0};

}  // namespace

extern "C" {

int limit_variant_count() { return static_cast<int>(variants().size()); }

const char* limit_variant_name(int variant) { return variants()[static_cast<std::size_t>(variant)].name; }

int limit_variant_supported(int variant) { return variants()[static_cast<std::size_t>(variant)].supported ? 1 : 0; }

// Into how many streams the variant's read and write passes cut a buffer.
int limit_variant_streams(int variant) { return variants()[static_cast<std::size_t>(variant)].streams; }

// The xor of all words that the last run's read passes saw.
std::uint32_t limit_seen() { return g_seen; }

// Nanoseconds for `passes` passes after `warm` uncounted ones over buffers of 4-byte words; -1 for an unknown or
// unsupported variant or fewer than one thread. `pass` is a Pass; only kCopy looks at what `copies` points to.
std::int64_t limit_run(const std::uint64_t* pointers, const std::uint64_t* copies, const std::uint64_t* bytes,
                       std::size_t count, int pass, int variant, int threads, int warm, int passes) {
    if (variant < 0 || variant >= limit_variant_count() || !limit_variant_supported(variant) || threads < 1) return -1;
    const Variant& loops = variants()[static_cast<std::size_t>(variant)];
    const auto parts = split(pointers, copies, bytes, count, threads);
    const std::vector<int> cores = allowed_cores();
    const int caller = sched_getcpu();
    const std::uint32_t mask = g_zeros;
    g_seen = 0;
    Barrier barrier(threads);

    const auto repeat = [&](int thread, int times) {
        std::uint32_t seen = 0;
        for (int i = 0; i < times; ++i) {
            seen ^= run_pass(parts[static_cast<std::size_t>(thread)], loops, static_cast<Pass>(pass), mask);
            barrier.wait();
        }
        g_seen.fetch_xor(seen);
    };
    std::vector<std::thread> workers;
    for (int worker = 1; worker < threads; ++worker) {
        workers.emplace_back([&, worker] {
            pin_apart(cores, caller, worker - 1);
            barrier.wait();
            repeat(worker, warm);
            barrier.wait();
            repeat(worker, passes);
        });
    }
    barrier.wait();
    repeat(0, warm);
    // The clock is read before anyone can begin: were it read behind the barrier, a caller that loses its core there
    // would find half of the pass done already (seen on a busy machine: 100 GB/s from a memory that gives 50).
    const auto start = std::chrono::steady_clock::now();
    barrier.wait();
    repeat(0, passes);
    const auto stop = std::chrono::steady_clock::now();
    for (std::thread& worker : workers) worker.join();
    return std::chrono::duration_cast<std::chrono::nanoseconds>(stop - start).count();
}

}  // extern "C"
