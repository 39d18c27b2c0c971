// SPDX-License-Identifier: BSD-3-Clause
// The loops of the memory limit. A pass reads (the xor of all words), writes (reads, xors with a mask of zeros that the
// compiler knows nothing of, and stores: no bit of any dtype changes, and no value is slow) or copies past the cache.
//
// A loop reads one stream, or four side by side as fastclip does: each an odd number of cache lines long, so that they
// do not meet in the same sets of the L1; what remains after them is read as one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#define FC_TARGET(isa) __attribute__((target(isa)))
#endif

namespace {

constexpr std::size_t kLine = 64;

using Read = std::uint32_t (*)(const char*, std::size_t);
using Write = void (*)(char*, std::size_t, std::uint32_t);
using Copy = void (*)(const char*, char*, std::size_t);

struct Variant {
    const char* name;
    int streams;
    bool supported;
    Read read;  // all take words that begin on a line
    Write write;
    Copy copy;
};

std::uint32_t read_words(const char* p, std::size_t bytes) {
    const auto* words = reinterpret_cast<const std::uint32_t*>(p);
    std::uint32_t seen = 0;
    for (std::size_t i = 0; i < bytes / 4; ++i) seen ^= words[i];
    return seen;
}

void write_words(char* p, std::size_t bytes, std::uint32_t mask) {
    auto* words = reinterpret_cast<std::uint32_t*>(p);
    for (std::size_t i = 0; i < bytes / 4; ++i) words[i] ^= mask;
}

void copy_words(const char* from, char* to, std::size_t bytes) {
    const auto* words = reinterpret_cast<const std::uint32_t*>(from);
    auto* copies = reinterpret_cast<std::uint32_t*>(to);
    for (std::size_t i = 0; i < bytes / 4; ++i) copies[i] = words[i];
}

// The bytes of each of so many streams.
template <int kStreams>
constexpr std::size_t stream_bytes(std::size_t bytes, std::size_t step) {
    if (kStreams == 1) return bytes / step * step;
    const std::size_t lines = bytes / (kStreams * kLine);
    return lines ? kLine * ((lines - 1) | 1) : 0;
}

#if defined(__x86_64__)

void copy_sse2(const char* from, char* to, std::size_t bytes) {
    std::size_t i = 0;
    for (; i + kLine <= bytes; i += kLine) {
        for (std::size_t j = i; j < i + kLine; j += 16) {
            _mm_stream_si128(reinterpret_cast<__m128i*>(to + j),
                             _mm_load_si128(reinterpret_cast<const __m128i*>(from + j)));
        }
    }
    copy_words(from + i, to + i, bytes - i);
}

template <int kStreams, int kUnroll>
FC_TARGET("avx2")
std::uint32_t read_avx2(const char* p, std::size_t bytes) {
    constexpr std::size_t kStep = 32 * kUnroll;
    static_assert(kStreams == 1 || kLine % kStep == 0, "a stream is whole lines long");
    const std::size_t length = stream_bytes<kStreams>(bytes, kStep);
    __m256i seen[kStreams * kUnroll] = {};
    for (std::size_t i = 0; i < length; i += kStep) {
        for (int j = 0; j < kStreams * kUnroll; ++j) {
            const char* at = p + j / kUnroll * length + i + 32 * (j % kUnroll);
            seen[j] = _mm256_xor_si256(seen[j], _mm256_load_si256(reinterpret_cast<const __m256i*>(at)));
        }
    }
    for (int j = 1; j < kStreams * kUnroll; ++j) seen[0] = _mm256_xor_si256(seen[0], seen[j]);
    alignas(32) std::uint32_t words[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(words), seen[0]);
    const std::size_t done = kStreams * length;
    return read_words(reinterpret_cast<const char*>(words), sizeof words) ^ read_words(p + done, bytes - done);
}

template <int kStreams, int kUnroll>
FC_TARGET("avx2")
void write_avx2(char* p, std::size_t bytes, std::uint32_t mask) {
    constexpr std::size_t kStep = 32 * kUnroll;
    const std::size_t length = stream_bytes<kStreams>(bytes, kStep);
    const __m256i masks = _mm256_set1_epi32(static_cast<int>(mask));
    for (std::size_t i = 0; i < length; i += kStep) {
        for (int j = 0; j < kStreams * kUnroll; ++j) {
            auto* at = reinterpret_cast<__m256i*>(p + j / kUnroll * length + i + 32 * (j % kUnroll));
            _mm256_store_si256(at, _mm256_xor_si256(masks, _mm256_load_si256(at)));
        }
    }
    const std::size_t done = kStreams * length;
    write_words(p + done, bytes - done, mask);
}

template <int kUnroll>
FC_TARGET("avx2")
void copy_avx2(const char* from, char* to, std::size_t bytes) {
    constexpr std::size_t kStep = 32 * kUnroll;
    std::size_t i = 0;
    for (; i + kStep <= bytes; i += kStep) {
        __m256i x[kUnroll];
        for (int j = 0; j < kUnroll; ++j) x[j] = _mm256_load_si256(reinterpret_cast<const __m256i*>(from + i + 32 * j));
        for (int j = 0; j < kUnroll; ++j) _mm256_stream_si256(reinterpret_cast<__m256i*>(to + i + 32 * j), x[j]);
    }
    copy_words(from + i, to + i, bytes - i);
}

template <int kStreams, int kUnroll>
FC_TARGET("avx512f")
std::uint32_t read_avx512(const char* p, std::size_t bytes) {
    constexpr std::size_t kStep = 64 * kUnroll;
    static_assert(kStreams == 1 || kLine % kStep == 0, "a stream is whole lines long");
    const std::size_t length = stream_bytes<kStreams>(bytes, kStep);
    __m512i seen[kStreams * kUnroll] = {};
    for (std::size_t i = 0; i < length; i += kStep) {
        for (int j = 0; j < kStreams * kUnroll; ++j) {
            const char* at = p + j / kUnroll * length + i + 64 * (j % kUnroll);
            seen[j] = _mm512_xor_si512(seen[j], _mm512_load_si512(reinterpret_cast<const __m512i*>(at)));
        }
    }
    for (int j = 1; j < kStreams * kUnroll; ++j) seen[0] = _mm512_xor_si512(seen[0], seen[j]);
    alignas(64) std::uint32_t words[16];
    _mm512_store_si512(reinterpret_cast<__m512i*>(words), seen[0]);
    const std::size_t done = kStreams * length;
    return read_words(reinterpret_cast<const char*>(words), sizeof words) ^ read_words(p + done, bytes - done);
}

template <int kStreams, int kUnroll>
FC_TARGET("avx512f")
void write_avx512(char* p, std::size_t bytes, std::uint32_t mask) {
    constexpr std::size_t kStep = 64 * kUnroll;
    const std::size_t length = stream_bytes<kStreams>(bytes, kStep);
    const __m512i masks = _mm512_set1_epi32(static_cast<int>(mask));
    for (std::size_t i = 0; i < length; i += kStep) {
        for (int j = 0; j < kStreams * kUnroll; ++j) {
            auto* at = reinterpret_cast<__m512i*>(p + j / kUnroll * length + i + 64 * (j % kUnroll));
            _mm512_store_si512(at, _mm512_xor_si512(masks, _mm512_load_si512(at)));
        }
    }
    const std::size_t done = kStreams * length;
    write_words(p + done, bytes - done, mask);
}

template <int kUnroll>
FC_TARGET("avx512f")
void copy_avx512(const char* from, char* to, std::size_t bytes) {
    constexpr std::size_t kStep = 64 * kUnroll;
    std::size_t i = 0;
    for (; i + kStep <= bytes; i += kStep) {
        __m512i x[kUnroll];
        for (int j = 0; j < kUnroll; ++j) x[j] = _mm512_load_si512(reinterpret_cast<const __m512i*>(from + i + 64 * j));
        for (int j = 0; j < kUnroll; ++j) _mm512_stream_si512(reinterpret_cast<__m512i*>(to + i + 64 * j), x[j]);
    }
    copy_words(from + i, to + i, bytes - i);
}

#endif

// What the copies stored past the cache is behind whatever this thread stores next.
void finish_copies() {
#if defined(__x86_64__)
    _mm_sfence();
#endif
}

const std::vector<Variant>& variants() {
#if defined(__x86_64__)
    static const bool avx2 = __builtin_cpu_supports("avx2");
    static const bool avx512 = __builtin_cpu_supports("avx512f");
    static const std::vector<Variant> all = {
        {"baseline", 1, true, read_words, write_words, copy_sse2},
        {"avx2 x4", 1, avx2, read_avx2<1, 4>, write_avx2<1, 4>, copy_avx2<4>},
        {"avx2 x8", 1, avx2, read_avx2<1, 8>, write_avx2<1, 8>, copy_avx2<8>},
        {"avx512 x4", 1, avx512, read_avx512<1, 4>, write_avx512<1, 4>, copy_avx512<4>},
        {"avx512 x8", 1, avx512, read_avx512<1, 8>, write_avx512<1, 8>, copy_avx512<8>},
        {"avx2 x1", 4, avx2, read_avx2<4, 1>, write_avx2<4, 1>, copy_avx2<4>},
        {"avx2 x2", 4, avx2, read_avx2<4, 2>, write_avx2<4, 2>, copy_avx2<4>},
        {"avx512 x1", 4, avx512, read_avx512<4, 1>, write_avx512<4, 1>, copy_avx512<4>},
    };
#else
    static const std::vector<Variant> all = {{"baseline", 1, true, read_words, write_words, copy_words}};
#endif
    return all;
}

}  // namespace
