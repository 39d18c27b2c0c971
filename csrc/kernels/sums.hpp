// SPDX-License-Identifier: BSD-3-Clause
// Sums over f16, bf16 and f32, with terms in f64: nothing over- or underflows there, and the square of an f32 is exact.
// 1,024 additions a lane and chunk stay below 2^-43 of the sum, 2^19 times finer than f32.
//
// From 32 KB on a buffer is read as four streams of the same length and what remains after them, since one stream does
// not get all that the memory gives: four read 1.3 times as fast from memory, 2.2 times at 16 MB, 1.25 times in L2
// (Zen 3; two gain half of that, eight lose it in cache again). Streams of less than 8 KB end before the processor has
// begun to fetch ahead: those of 1 KB took 1.8 times as long as none. A stream is an odd number of cache lines long, or
// all four would meet in the same sets of the L1: 52 instead of 67 GB/s at 512 KB.
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
inline constexpr int kStreamLines = 128;  // cache lines that a stream has at the least

template <class T>
std::int64_t stream_length(std::int64_t n) {
    constexpr std::int64_t kLine = kLineBytes / sizeof(T);
    const std::int64_t lines = n / (kStreams * kLine);
    return lines < kStreamLines ? 0 : kLine * ((lines - 1) | 1);
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

    template <class Term, class T>  // as many elements as there are whole rows of lanes; returns how many
    std::int64_t add_rows(const T* x, std::int64_t n) {
        std::int64_t i = 0;
        for (; i + kLanes <= n; i += kLanes) {
            FASTCLIP_UNROLL
            for (int j = 0; j < kRegs; ++j) acc[j] = Term::template add<V>(acc[j], V::widen(x + i + j * V::kF64));
        }
        return i;
    }

    template <class Term, class T>  // n elements, in turn over all lanes
    double add_and_fold(const T* x, std::int64_t n) {
        const std::int64_t whole = add_rows<Term>(x, n);
        x += whole;
        n -= whole;
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

// Squares of f16 and bf16 are exact in f32, too, so in the streams four of them are added there before they become f64,
// which takes most of the time: 37 and 40 GB/s in L2 (Zen 4), 26 and 29 when two are.
// In each 16 elements of a stream i is paired with i + 8 (f16) or the even ones with the odd ones (bf16: a mask and a
// shift of whole vectors); of each 32 two such pairs are added. Two roundings to f32 leave the sum right to 2^-23 and
// the norm to 2^-24, one ULP of f32 at most: eight would be too many. One square of a pair is rounded before their sum
// (it matters below f32's normal numbers alone), the other is not: a fused multiplication, a tenth faster than two
// operations.
WidenVec::F32 add_squares(WidenVec::F32 a, WidenVec::F32 b) { return WidenVec::add_square(WidenVec::mul(b, b), a); }
WidenVec::F32 pair_of_squares(const Half* x, int vector) {
    const Half* at = x + vector * WidenVec::kF32;
    return add_squares(WidenVec::load(at), WidenVec::load(at + kStreamLanes));
}
WidenVec::F32 pair_of_squares(const Brain* x, int vector) {
    const Brain* at = x + 2 * vector * WidenVec::kF32;
    return add_squares(WidenVec::load_even(at), WidenVec::load_odd(at));
}

template <class T>
Partial sum_fours(const T* x, std::int64_t n) {
    using V = WidenVec;
    Lanes lanes;
    const std::int64_t length = stream_length<T>(n);
    for (std::int64_t i = 0; i < length; i += 4 * kStreamLanes) {
        FASTCLIP_UNROLL
        for (int j = 0; j < kLanes / V::kF32; ++j) {
            constexpr int kVectors = kStreamLanes / V::kF32;
            const T* at = x + j / kVectors * length + i;
            const auto sum =
                V::add(pair_of_squares(at, j % kVectors), pair_of_squares(at + 2 * kStreamLanes, j % kVectors));
            lanes.acc[2 * j] = V::add(lanes.acc[2 * j], V::widen_low(sum));
            lanes.acc[2 * j + 1] = V::add(lanes.acc[2 * j + 1], V::widen_high(sum));
        }
    }
    return {lanes.add_and_fold<Square>(x + kStreams * length, n - kStreams * length), 0.0};
}

// bf16 has f32's range: squares may leave it. They did if the sum is not finite, or so small that what vanished below
// 2^-149 could matter (n * 2^-150 against at least n * 2^-100); then squares are formed in f64.
inline constexpr double kFoursMin = 0x1p-100;

Partial sumsq(const Half* x, std::int64_t n, double) { return sum_fours(x, n); }
Partial sumsq(const Brain* x, std::int64_t n, double) {
    const Partial fours = sum_fours(x, n);
    const bool good = is_finite(fours.hi) && fours.hi >= static_cast<double>(n) * kFoursMin;
    return good ? fours : sum<Square>(x, n);
}
Partial sumsq(const float* x, std::int64_t n, double) { return sum<Square>(x, n); }

template <class T>  // Half, Brain or float
Partial sumabs(const T* x, std::int64_t n) {
    return sum<Magnitude>(x, n);
}

}  // namespace
}  // namespace fastclip
