// SPDX-License-Identifier: BSD-3-Clause
// The memory limit: how long one pass over the caller's own buffers takes when a pass does nothing but read them
// (xor of all words), or read, multiply by exactly 1.0f and write them back. Plain C ABI, loaded by limit.py.
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

#if defined(__x86_64__)
#include <immintrin.h>
#define FC_TARGET(isa) __attribute__((target(isa)))
#endif

namespace {

constexpr std::size_t kLine = 64;
constexpr int kSpins = 1 << 14;  // about 0.3 ms, then yield: the other thread may be waiting for this very core

struct Span {
    char* data;
    std::size_t bytes;
};

using Read = std::uint32_t (*)(const char*, std::size_t);
using Write = void (*)(char*, std::size_t, float);

struct Variant {
    const char* name;
    bool supported;
    Read read;  // both take words that begin on a line
    Write write;
};

std::uint32_t read_words(const char* p, std::size_t bytes) {
    const auto* words = reinterpret_cast<const std::uint32_t*>(p);
    std::uint32_t seen = 0;
    for (std::size_t i = 0; i < bytes / 4; ++i) seen ^= words[i];
    return seen;
}

void write_words(char* p, std::size_t bytes, float k) {
    auto* x = reinterpret_cast<float*>(p);
    for (std::size_t i = 0; i < bytes / 4; ++i) x[i] *= k;
}

#if defined(__x86_64__)

template <int kUnroll>
FC_TARGET("avx2")
std::uint32_t read_avx2(const char* p, std::size_t bytes) {
    constexpr std::size_t kStep = 32 * kUnroll;
    __m256i seen[kUnroll] = {};
    std::size_t i = 0;
    for (; i + kStep <= bytes; i += kStep) {
        for (int j = 0; j < kUnroll; ++j) {
            seen[j] = _mm256_xor_si256(seen[j], _mm256_load_si256(reinterpret_cast<const __m256i*>(p + i + 32 * j)));
        }
    }
    for (int j = 1; j < kUnroll; ++j) seen[0] = _mm256_xor_si256(seen[0], seen[j]);
    alignas(32) std::uint32_t words[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(words), seen[0]);
    return read_words(reinterpret_cast<const char*>(words), sizeof words) ^ read_words(p + i, bytes - i);
}

template <int kUnroll>
FC_TARGET("avx2")
void write_avx2(char* p, std::size_t bytes, float k) {
    constexpr std::size_t kStep = 32 * kUnroll;
    const __m256 factor = _mm256_set1_ps(k);
    std::size_t i = 0;
    for (; i + kStep <= bytes; i += kStep) {
        for (int j = 0; j < kUnroll; ++j) {
            auto* x = reinterpret_cast<float*>(p + i + 32 * j);
            _mm256_store_ps(x, _mm256_mul_ps(factor, _mm256_load_ps(x)));
        }
    }
    write_words(p + i, bytes - i, k);
}

template <int kUnroll>
FC_TARGET("avx512f")
std::uint32_t read_avx512(const char* p, std::size_t bytes) {
    constexpr std::size_t kStep = 64 * kUnroll;
    __m512i seen[kUnroll] = {};
    std::size_t i = 0;
    for (; i + kStep <= bytes; i += kStep) {
        for (int j = 0; j < kUnroll; ++j) seen[j] = _mm512_xor_si512(seen[j], _mm512_load_si512(p + i + 64 * j));
    }
    for (int j = 1; j < kUnroll; ++j) seen[0] = _mm512_xor_si512(seen[0], seen[j]);
    alignas(64) std::uint32_t words[16];
    _mm512_store_si512(words, seen[0]);
    return read_words(reinterpret_cast<const char*>(words), sizeof words) ^ read_words(p + i, bytes - i);
}

template <int kUnroll>
FC_TARGET("avx512f")
void write_avx512(char* p, std::size_t bytes, float k) {
    constexpr std::size_t kStep = 64 * kUnroll;
    const __m512 factor = _mm512_set1_ps(k);
    std::size_t i = 0;
    for (; i + kStep <= bytes; i += kStep) {
        for (int j = 0; j < kUnroll; ++j) {
            auto* x = reinterpret_cast<float*>(p + i + 64 * j);
            _mm512_store_ps(x, _mm512_mul_ps(factor, _mm512_load_ps(x)));
        }
    }
    write_words(p + i, bytes - i, k);
}

#endif

const std::vector<Variant>& variants() {
#if defined(__x86_64__)
    static const bool avx2 = __builtin_cpu_supports("avx2");
    static const bool avx512 = __builtin_cpu_supports("avx512f");
#endif
    static const std::vector<Variant> all = {
        {"baseline", true, read_words, write_words},
#if defined(__x86_64__)
        {"avx2 x4", avx2, read_avx2<4>, write_avx2<4>},
        {"avx2 x8", avx2, read_avx2<8>, write_avx2<8>},
        {"avx512 x4", avx512, read_avx512<4>, write_avx512<4>},
        {"avx512 x8", avx512, read_avx512<8>, write_avx512<8>},
#endif
    };
    return all;
}

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
std::vector<std::vector<Span>> split(const std::uint64_t* pointers, const std::uint64_t* bytes, std::size_t count,
                                     int threads) {
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < count; ++i) total += bytes[i];
    const auto parts = static_cast<std::uint64_t>(threads);
    std::vector<std::vector<Span>> spans(parts);
    std::uint64_t done = 0;
    std::uint64_t part = 0;
    for (std::size_t i = 0; i < count; ++i) {
        std::uint64_t address = pointers[i];
        std::uint64_t left = bytes[i];
        while (left > 0) {
            const std::uint64_t end = part + 1 < parts ? total * (part + 1) / parts : total;
            if (part + 1 < parts && done >= end) {
                ++part;
                continue;
            }
            const std::uint64_t room = end - done;
            const std::uint64_t take = std::min(left, room + (kLine - (address + room) % kLine) % kLine);
            spans[part].push_back({reinterpret_cast<char*>(address), static_cast<std::size_t>(take)});
            address += take;
            left -= take;
            done += take;
        }
    }
    return spans;
}

// The words before a span's first whole line are done one by one, the rest by the variant.
std::uint32_t pass(const std::vector<Span>& spans, const Variant& variant, bool write, float k) {
    std::uint32_t seen = 0;
    for (const Span& span : spans) {
        const std::size_t to_line = (kLine - reinterpret_cast<std::uintptr_t>(span.data) % kLine) % kLine;
        const std::size_t head = std::min(to_line, span.bytes);
        if (write) {
            write_words(span.data, head, k);
            variant.write(span.data + head, span.bytes - head, k);
        } else {
            seen ^= read_words(span.data, head) ^ variant.read(span.data + head, span.bytes - head);
        }
    }
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

volatile float g_one = 1.0F;  // volatile: the compiler must not know that the product changes nothing
std::atomic<std::uint32_t> g_seen{0};

}  // namespace

extern "C" {

int limit_variant_count() { return static_cast<int>(variants().size()); }

const char* limit_variant_name(int variant) { return variants()[static_cast<std::size_t>(variant)].name; }

int limit_variant_supported(int variant) { return variants()[static_cast<std::size_t>(variant)].supported ? 1 : 0; }

// The xor of all words that the last run's read passes saw.
std::uint32_t limit_seen() { return g_seen; }

// Nanoseconds for `passes` passes after `warm` uncounted ones over buffers of f32 words; -1 for an unknown or
// unsupported variant or fewer than one thread.
std::int64_t limit_run(const std::uint64_t* pointers, const std::uint64_t* bytes, std::size_t count, int write,
                       int variant, int threads, int warm, int passes) {
    if (variant < 0 || variant >= limit_variant_count() || !limit_variant_supported(variant) || threads < 1) return -1;
    const Variant& loops = variants()[static_cast<std::size_t>(variant)];
    const auto parts = split(pointers, bytes, count, threads);
    const std::vector<int> cores = allowed_cores();
    const int caller = sched_getcpu();
    const float k = g_one;
    g_seen = 0;
    Barrier barrier(threads);

    const auto repeat = [&](int thread, int times) {
        std::uint32_t seen = 0;
        for (int i = 0; i < times; ++i) {
            seen ^= pass(parts[static_cast<std::size_t>(thread)], loops, write != 0, k);
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
