// SPDX-License-Identifier: BSD-3-Clause
// Numbers of every dtype made of integers alone, so that all machines have the same, and memory to put them in.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "core/dtype.hpp"

namespace fastclip {
namespace {

[[noreturn]] void fail(const std::string& why) {
    std::fprintf(stderr, "%s\n", why.c_str());
    std::exit(1);
}

// Bits of one dtype. All NaN count as one.
template <class T>
struct Format;
template <>
struct Format<Half> {
    using Bits = std::uint16_t;
    static constexpr int kFraction = 10, kExponent = 5;
    static constexpr const char* kTag = "f16";
};
template <>
struct Format<Brain> {
    using Bits = std::uint16_t;
    static constexpr int kFraction = 7, kExponent = 8;
    static constexpr const char* kTag = "bf16";
};
template <>
struct Format<float> {
    using Bits = std::uint32_t;
    static constexpr int kFraction = 23, kExponent = 8;
    static constexpr const char* kTag = "f32";
};
template <>
struct Format<double> {
    using Bits = std::uint64_t;
    static constexpr int kFraction = 52, kExponent = 11;
    static constexpr const char* kTag = "f64";
};

template <class T>
std::uint64_t bits(const T& x) {
    using F = Format<T>;
    typename F::Bits b;
    std::memcpy(&b, &x, sizeof b);
    const std::uint64_t infinity = ((1ull << F::kExponent) - 1) << F::kFraction;
    const std::uint64_t magnitude = b & ((1ull << (F::kExponent + F::kFraction)) - 1);
    return magnitude > infinity ? ~0ull : b;
}

std::uint64_t random_bits(std::uint64_t i) {  // splitmix64
    i = (i + 1) * 0x9e3779b97f4a7c15u;
    i = (i ^ i >> 30) * 0xbf58476d1ce4e5b9u;
    i = (i ^ i >> 27) * 0x94d049bb133111ebu;
    return i ^ i >> 31;
}

constexpr int kKinds = 4;  // any bits and all special values; any finite ones; near 1, where sums round; subnormal ones

template <class T>
T number(int kind, std::uint64_t i) {
    using F = Format<T>;
    const std::uint64_t r = random_bits(i * kKinds + static_cast<std::uint64_t>(kind)), most = (1u << F::kExponent) - 1;
    const std::uint64_t fraction = r & ((1ull << F::kFraction) - 1), sign = r >> 63 << (F::kExponent + F::kFraction);
    std::uint64_t exponent = random_bits(~r) & most;
    const std::uint64_t special[] = {0,
                                     1,
                                     (1ull << F::kFraction) - 1,
                                     1ull << F::kFraction,
                                     (most << F::kFraction) - 1,
                                     most << F::kFraction,
                                     (most << F::kFraction) + 1,
                                     (most / 2) << F::kFraction};
    if (kind == 1 && exponent == most) exponent /= 2;
    if (kind == 2) exponent = most / 2 - 8 + exponent % 16;
    if (kind == 3) exponent = exponent % 4 ? 0 : exponent % 16 / 4;
    std::uint64_t b = exponent << F::kFraction | fraction;
    if (kind == 0 && i % 5 == 0) b = special[random_bits(i) % 8];
    const auto all = static_cast<typename F::Bits>(sign | b);
    T x;
    std::memcpy(&x, &all, sizeof x);
    return x;
}

template <class T>
T negated(T x) {
    typename Format<T>::Bits b;
    std::memcpy(&b, &x, sizeof b);
    b = static_cast<typename Format<T>::Bits>(b ^ 1ull << (Format<T>::kExponent + Format<T>::kFraction));
    std::memcpy(&x, &b, sizeof x);
    return x;
}

// Memory between two pages that trap. What lies beside the elements must not change.
class Arena {
  public:
    Arena() {
        const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
        const std::size_t inner = (kRoom / page + 1) * page;
        void* all = mmap(nullptr, inner + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (all == MAP_FAILED) fail("mmap");
        begin_ = static_cast<char*>(all) + page;
        end_ = begin_ + inner;
        if (mprotect(begin_, inner, PROT_READ | PROT_WRITE)) fail("mprotect");
        std::memset(begin_, 0x5a, inner);
    }
    // `place` elements from the front, or, below 0, -1 - place before the back
    template <class T>
    T* put(std::int64_t n, std::int64_t place) {
        const std::int64_t size = sizeof(T);
        at_ = place >= 0 ? begin_ + place * size : end_ - (n - 1 - place) * size;
        length_ = n * size;
        return static_cast<T*>(static_cast<void*>(at_));
    }
    void check(const std::string& what) {
        for (int i = 1; i <= 64; ++i) {
            if (at_ - i >= begin_ && at_[-i] != 0x5a) fail(what + " wrote before its buffer");
            if (at_ + length_ + i <= end_ && at_[length_ + i - 1] != 0x5a) fail(what + " wrote beyond its buffer");
        }
        std::memset(at_, 0x5a, static_cast<std::size_t>(length_));
    }

  private:
    static constexpr std::size_t kRoom = 8 * 65536 + 64;
    char *begin_, *end_, *at_;
    std::int64_t length_;
};

}  // namespace
}  // namespace fastclip
