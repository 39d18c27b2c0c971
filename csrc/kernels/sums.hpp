// SPDX-License-Identifier: BSD-3-Clause
// Sums over f16, bf16 and f32, with terms in f64: nothing over- or underflows there, and the square of an f32 is exact.
// 1,024 additions a lane and chunk stay below 2^-43 of the sum, 2^19 times finer than f32.
//
// A buffer is read as four streams of the same length and what remains after them, since one stream does not get all
// that the memory gives: four read 1.3 times as fast from memory, 2.2 times at 16 MB, 1.25 times in L2 (Zen 3; two
// gain half of that, eight lose it in cache again). A stream is an odd number of cache lines long, or all four would
// meet in the same sets of the L1: 52 instead of 67 GB/s at 512 KB.
//
// Stream s has lanes 8 s to 8 s + 7, its element i goes to lane 8 s + i % 8; what remains is shared out over all 32
// lanes in turn; at the end the lanes are folded in halves. The order of additions therefore depends on n alone and
// not on the register width, so every ISA returns the same bits.
#pragma once

#include "kernels/lanes.hpp"

namespace fastclip {
namespace {

inline constexpr int kLanes = 32;  // 8 AVX2 registers: the latency of an addition times its throughput
inline constexpr int kStreams = 4;
inline constexpr int kStreamLanes = kLanes / kStreams;

template <class T>
std::int64_t stream_length(std::int64_t n) {
    constexpr std::int64_t kLine = kLineBytes / sizeof(T);
    const std::int64_t lines = n / (kStreams * kLine);
    return lines ? kLine * ((lines - 1) | 1) : 0;
}

struct Square {
    template <class V>
    static typename V::F64 add(typename V::F64 sum, typename V::F64 x) {
        return V::add_exact_square(sum, x);
    }
};
struct Magnitude {
    template <class V>
    static typename V::F64 add(typename V::F64 sum, typename V::F64 x) {
        return V::add(sum, V::abs(x));
    }
};

template <class V, int kRegs>
typename V::F64 fold(const typename V::F64 (&acc)[kRegs]) {
    if constexpr (kRegs == 1) {
        return acc[0];
    } else {
        typename V::F64 half[kRegs / 2];
        FASTCLIP_UNROLL
        for (int j = 0; j < kRegs / 2; ++j) half[j] = V::add(acc[j], acc[j + kRegs / 2]);
        return fold<V>(half);
    }
}

struct Lanes {
    using V = WidenVec;
    static constexpr int kRegs = kLanes / V::kF64;
    static constexpr int kStreamRegs = kStreamLanes / V::kF64;
    V::F64 acc[kRegs];

    Lanes() {
        FASTCLIP_UNROLL
        for (int j = 0; j < kRegs; ++j) acc[j] = V::set(0.0);
    }

    template <class Term, class T>  // n elements, in turn over all lanes
    double add_and_fold(const T* x, std::int64_t n) {
        for (; n >= kLanes; n -= kLanes, x += kLanes) {
            FASTCLIP_UNROLL
            for (int j = 0; j < kRegs; ++j) acc[j] = Term::template add<V>(acc[j], V::widen(x + j * V::kF64));
        }
        const int rest = static_cast<int>(n);  // absent elements count as 0, which changes no bit of a sum
        FASTCLIP_UNROLL
        for (int j = 0; j < kRegs; ++j) {
            const int at = j * V::kF64;
            if (at < rest) acc[j] = Term::template add<V>(acc[j], V::widen_first(x + at, least(rest - at, V::kF64)));
        }
        return V::sum_by_halves(fold<V>(acc));
    }
};

template <class Term, class T>
Partial sum(const T* x, std::int64_t n) {
    using V = WidenVec;
    Lanes lanes;
    const std::int64_t length = stream_length<T>(n);
    for (std::int64_t i = 0; i < length; i += kStreamLanes) {
        FASTCLIP_UNROLL
        for (int j = 0; j < Lanes::kRegs; ++j) {
            const T* at = x + j / Lanes::kStreamRegs * length + i + j % Lanes::kStreamRegs * V::kF64;
            lanes.acc[j] = Term::template add<V>(lanes.acc[j], V::widen(at));
        }
    }
    return {lanes.add_and_fold<Term>(x + kStreams * length, n - kStreams * length), 0.0};
}

// Squares of f16 and bf16 are exact in f32, too, so in the streams they are added in pairs there before they become
// f64: that halves the conversions, which are the bottleneck.
// Element i of a stream is paired with i + 8, in groups of 16. One rounding to f32 leaves the sum right to 2^-24 and
// the norm to 2^-25, half an ULP of f32. Products and sums are rounded each by itself: where a square is below f32's
// normal numbers, a fused multiplication would give other bits.
template <class T>
Partial sum_pairs(const T* x, std::int64_t n) {
    using V = WidenVec;
    Lanes lanes;
    const std::int64_t length = stream_length<T>(n);
    for (std::int64_t i = 0; i < length; i += 2 * kStreamLanes) {
        FASTCLIP_UNROLL
        for (int j = 0; j < kLanes / V::kF32; ++j) {
            constexpr int kVectors = kStreamLanes / V::kF32;
            const T* at = x + j / kVectors * length + i + j % kVectors * V::kF32;
            const auto a = V::load(at), b = V::load(at + kStreamLanes);
            const auto pair = V::add(V::mul(a, a), V::mul(b, b));
            lanes.acc[2 * j] = V::add(lanes.acc[2 * j], V::widen_low(pair));
            lanes.acc[2 * j + 1] = V::add(lanes.acc[2 * j + 1], V::widen_high(pair));
        }
    }
    return {lanes.add_and_fold<Square>(x + kStreams * length, n - kStreams * length), 0.0};
}

// bf16 has f32's range: squares may leave it. They did if the sum is not finite, or so small that what vanished below
// 2^-149 could matter (n * 2^-150 against at least n * 2^-100); then squares are formed in f64.
inline constexpr double kPairsMin = 0x1p-100;

Partial sumsq(const Half* x, std::int64_t n, double) { return sum_pairs(x, n); }
Partial sumsq(const Brain* x, std::int64_t n, double) {
    const Partial pairs = sum_pairs(x, n);
    const bool good = is_finite(pairs.hi) && pairs.hi >= static_cast<double>(n) * kPairsMin;
    return good ? pairs : sum<Square>(x, n);
}
Partial sumsq(const float* x, std::int64_t n, double) { return sum<Square>(x, n); }

template <class T>  // Half, Brain or float
Partial sumabs(const T* x, std::int64_t n) {
    return sum<Magnitude>(x, n);
}

}  // namespace
}  // namespace fastclip
