// SPDX-License-Identifier: BSD-3-Clause
// Element types, and the list that every kernel takes: chunks of at most 16 KB of arrays at addresses in a table.
#pragma once

#include "core/rule.hpp"
#include "ptx.cuh"

namespace fastclip {

using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned;
using u64 = unsigned long long;
using i64 = long long;

constexpr u32 kWarp = 32, kWarps = 8, kThreads = kWarp * kWarps;
constexpr u32 kVectorBytes = 16, kEveryLane = 0xffffffffu;
constexpr double kNan = __builtin_bit_cast(double, 0x7ff8000000000000ull);

// ---- element types, in the order of csrc/core/dtype.hpp

enum DType : u8 { kF16, kBF16, kF32, kF64 };

template <int D>
struct Element {  // kF16 and kBF16: two in a word
    using Stored = u16;
    using Value = float;
    FASTCLIP_INLINE float load(u16 bits) { return D == kF16 ? float_of_half(bits) : float_of((u32)bits << 16); }
    FASTCLIP_INLINE u16 store(float x) { return D == kF16 ? half_of(x) : brain_of(x); }
    FASTCLIP_INLINE u16 get(const u32 (&words)[4], u32 i) { return (u16)(words[i / 2] >> (i & 1) * 16); }
    FASTCLIP_INLINE void put(u32 (&words)[4], u32 i, u16 bits) {
        words[i / 2] = i & 1 ? (words[i / 2] & 0xffffu) | (u32)bits << 16 : (words[i / 2] & 0xffff0000u) | bits;
    }
};

template <>
struct Element<kF32> {
    using Stored = float;
    using Value = float;
    FASTCLIP_INLINE float load(float x) { return x; }
    FASTCLIP_INLINE float store(float x) { return x; }
    FASTCLIP_INLINE float get(const u32 (&words)[4], u32 i) { return float_of(words[i]); }
    FASTCLIP_INLINE void put(u32 (&words)[4], u32 i, float x) { words[i] = bits_of(x); }
};

template <>
struct Element<kF64> {
    using Stored = double;
    using Value = double;
    FASTCLIP_INLINE double load(double x) { return x; }
    FASTCLIP_INLINE double store(double x) { return x; }
    FASTCLIP_INLINE double get(const u32 (&words)[4], u32 i) { return double_of(words[2 * i + 1], words[2 * i]); }
    FASTCLIP_INLINE void put(u32 (&words)[4], u32 i, double x) {
        words[2 * i] = low_of(x);
        words[2 * i + 1] = high_of(x);
    }
};

template <int D>
constexpr u32 kSize = sizeof(typename Element<D>::Stored);
template <int D>
constexpr u32 kPerVector = kVectorBytes / kSize<D>;

FASTCLIP_INLINE bool is_finite_f32(float x) { return (bits_of(x) & 0x7f800000u) != 0x7f800000u; }
FASTCLIP_INLINE bool is_finite_value(float x) { return is_finite_f32(x); }
FASTCLIP_INLINE bool is_finite_value(double x) { return is_finite(x); }
FASTCLIP_INLINE double as_f64(float x) { return widen(x); }
FASTCLIP_INLINE double as_f64(double x) { return x; }

// From f64 in one rounding. By way of f32 there would be two, so the f32 is rounded to odd, as in core/convert.hpp.
FASTCLIP_INLINE float to_odd(double x) {
    const float near = narrow(x);
    const double back = widen(near);
    if (back == x || !is_finite(back) || (bits_of(near) & 1u)) return near;
    return float_of(bits_of(near) + ((back < x) == (x > 0.0) ? 1u : ~0u));
}
template <int D>
FASTCLIP_INLINE typename Element<D>::Stored stored(double x) {
    if constexpr (D == kF64)
        return x;
    else
        return Element<D>::store(D == kF32 ? narrow(x) : to_odd(x));
}

// ---- the list. `_backends/cuda/plan.py` has these records as NumPy's structured dtypes.

struct alignas(16) Chunk {
    i64 start;  // bytes from the array's address; below 0 where a stride is
    u32 array;
    u16 count;
    u8 dtype;
    u8 repeat;  // this memory stands earlier in the list: it counts in the norm, and is written once
};

// What becomes of the elements of the list, or of one group.
struct Verdict {
    Coefficient by;
    double norm;
    u32 drop;       // NaN and infinity become 0
    u32 nonfinite;  // there are some
};

struct Total {  // of squares of elements times factor(level)
    double hi, lo;
    u32 level, nonfinite;
};

struct Plan {
    const u64* arrays;     // their addresses
    const Chunk* chunks;   // in the order of the list, or of the groups
    const u32* groups;     // of each chunk; null: a group is an array
    const u32* firsts;     // the first chunk of each lane (norm_list) or group (norm_each); one more than there are
    const i64* counts;     // the elements of each group
    const double* rounds;  // the coarsest unit roundoff of each group
    Total* partials;       // of each lane (norm_list) or chunk (norm_each)
    u32* counters;         // 0 between two calls
    Verdict* verdicts;     // one, or one for each group
    u32 chunk_count, lane_count;
};

enum class Policy : u32 { propagate, nan, raise, skip, zero };

struct Request {
    void* norm;          // where the norm of the list goes, or f64 norms of the groups; null: nowhere
    float* coefficient;  // likewise what elements are multiplied with, 1 within the limit
    const void* given;   // torch: the norm, if it is known
    double limit;
    double use_norm;  // below 0: unknown
    double slack;
    double round;  // the coarsest unit roundoff of the list
    Policy policy;
    u32 average;
    u32 each;        // a verdict for each group
    u32 reads;       // 0: use_norm, or what is given, is all that is needed
    u32 norm_dtype;  // of the list's, and of what is given
    u32 torch;       // the rule is that of core/torch_rule.hpp
};

FASTCLIP_INLINE char* address(const Plan& plan, const Chunk& chunk) {
    return reinterpret_cast<char*>(read_only(plan.arrays + chunk.array)) + chunk.start;
}

FASTCLIP_INLINE u32 group_of(const Plan& plan, const Chunk& chunk, u32 c) {
    return plan.groups ? plan.groups[c] : chunk.array;
}

template <int D>
struct Tag {
    static constexpr int value = D;
};

template <class F>  // f(Tag<D>()); the branch is the same for a whole warp
FASTCLIP_INLINE void with_dtype(u32 dtype, F&& f) {
    if (dtype == kF32)
        f(Tag<kF32>());
    else if (dtype == kBF16)
        f(Tag<kBF16>());
    else if (dtype == kF16)
        f(Tag<kF16>());
    else
        f(Tag<kF64>());
}

// Where a warp's chunk has its first vector, and how many there are; what is before and after is below one vector.
template <int D>
struct Split {
    u32 head, vectors, tail;
    FASTCLIP_INLINE Split of(const char* data, u32 count) {
        u32 head = (u32)(-(i64)data & (kVectorBytes - 1)) / kSize<D>;
        if (head > count) head = count;
        const u32 vectors = (count - head) / kPerVector<D>;
        return {head, vectors, count - head - vectors * kPerVector<D>};
    }
};

}  // namespace fastclip
