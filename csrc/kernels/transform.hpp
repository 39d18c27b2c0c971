// SPDX-License-Identifier: BSD-3-Clause
// One read and one write of a buffer, in place or to another one.
#pragma once

#include "kernels/lanes.hpp"
#include "kernels/reduce.hpp"

namespace fastclip {
namespace {

// How elements become vectors and vectors elements: as f32 (f16 and bf16, too), as f64, narrow ones by way of f64.

template <class Element>
struct AsF32 {
    using T = Element;
    using V = Vec::F32;
    static constexpr int kWidth = Vec::kF32;
    static V load(const T* p) { return Vec::load(p); }
    static V load_first(const T* p, int count) { return Vec::load_first(p, count); }
    static void store(T* p, V a) { Vec::store(p, a); }
    static void store_past_cache(T* p, V a) { Vec::store_past_cache(p, a); }
    static void store_first(T* p, V a, int count) { Vec::store_first(p, a, count); }
};

struct AsF64 {
    using T = double;
    using V = Vec::F64;
    static constexpr int kWidth = Vec::kF64;
    static V load(const T* p) { return Vec::load(p); }
    static V load_first(const T* p, int count) { return Vec::load_first(p, count); }
    static void store(T* p, V a) { Vec::store(p, a); }
    static void store_past_cache(T* p, V a) { Vec::store_past_cache(p, a); }
    static void store_first(T* p, V a, int count) { Vec::store_first(p, a, count); }
};

template <class Element>
struct Widened {
    using T = Element;
    using V = Vec::F64;
    static constexpr int kWidth = Vec::kF64;
    static V load(const T* p) { return Vec::widen(p); }
    static V load_first(const T* p, int count) { return Vec::widen_first(p, count); }
    static void store(T* p, V a) { Vec::narrow(p, a); }
    static void store_past_cache(T* p, V a) { Vec::narrow(p, a); }
    static void store_first(T* p, V a, int count) { Vec::narrow_first(p, a, count); }
};

// bf16 in whole vectors, the even elements and the odd ones: a mask and a shift make f32 of them, and two roundings
// and a blend make bf16 again, at 17 operations for 16 elements where AsF32 takes 24.
struct BrainPairs {
    using T = Brain;
    using V = Vec::Brains;
    static constexpr int kWidth = 2 * Vec::kF32;
    static V load(const T* p) { return {Vec::load_even(p), Vec::load_odd(p)}; }
    static V load_first(const T* p, int count) {
        T some[kWidth] = {};
        for (int i = 0; i < count; ++i) some[i] = p[i];
        return load(some);
    }
    static void store(T* p, V a) { Vec::store_pairs(p, a); }
    static void store_past_cache(T* p, V a) { Vec::store_pairs_past_cache(p, a); }
    static void store_first(T* p, V a, int count) {
        T some[kWidth];
        store(some, a);
        for (int i = 0; i < count; ++i) p[i] = some[i];
    }
};

template <class T>
struct NaturalOf {
    using Type = AsF32<T>;
};
template <>
struct NaturalOf<double> {
    using Type = AsF64;
};
template <class T>
using Natural = typename NaturalOf<T>::Type;

Vec::F64 broadcast(const double* x) { return Vec::set(*x); }
template <class T>  // Half, Brain or float
Vec::F32 broadcast(const T* x) {
    return Vec::set32(to_f32(*x));
}
template <class T>
typename Natural<T>::V rounded(double x) {  // in every lane, rounded to T
    T r;
    round_once(r, x);
    return broadcast(&r);
}

// From this many elements on, stores are aligned first: NumPy's large blocks start 16 bytes into a cache line, and
// stores across lines cost a quarter of the speed in cache (142 against 193 GB/s at 4 MB).
inline constexpr std::int64_t kAlignFrom = 1024;

// dst = op(src), a vector at a time; op(vector, index, count) may look at other arrays at the index. Of an incomplete
// vector no byte beyond the buffer is read or written.
template <class As, class Op>
void transform(typename As::T* dst, const typename As::T* src, std::int64_t n, Walk walk, Op op) {
    using T = typename As::T;
    constexpr int kWidth = As::kWidth;
    const auto part = [&](std::int64_t i, std::int64_t count) {
        const int some = static_cast<int>(count);
        As::store_first(dst + i, op(As::load_first(src + i, some), i, some), some);
    };
    std::int64_t i = 0;
    if (n >= kAlignFrom) {
        constexpr std::uintptr_t kBytes = kWidth * sizeof(T);
        const std::uintptr_t beyond = reinterpret_cast<std::uintptr_t>(dst) % kBytes;
        if (beyond) part(0, i = static_cast<std::int64_t>((kBytes - beyond) / sizeof(T)));
    }
    if (walk != Walk::in_cache && n >= kAlignFrom) {
        constexpr int kVectors = kLineBytes / sizeof(T) / kWidth > 0 ? kLineBytes / sizeof(T) / kWidth : 1;
        const std::int64_t length = stream_length<T>(n - i);
        for (std::int64_t k = 0; k < length; k += kVectors * kWidth) {
            FASTCLIP_UNROLL
            for (int j = 0; j < kStreams * kVectors; ++j) {
                const std::int64_t at = i + j / kVectors * length + k + j % kVectors * kWidth;
                const auto r = op(As::load(src + at), at, kWidth);
                if (walk == Walk::past_cache)
                    As::store_past_cache(dst + at, r);
                else
                    As::store(dst + at, r);
            }
        }
        i += kStreams * length;
        if (walk == Walk::past_cache) Vec::fence();
    }
    for (; i + 4 * kWidth <= n; i += 4 * kWidth) {
        FASTCLIP_UNROLL
        for (int j = 0; j < 4; ++j)
            As::store(dst + i + j * kWidth, op(As::load(src + i + j * kWidth), i + j * kWidth, kWidth));
    }
    for (; i + kWidth <= n; i += kWidth) As::store(dst + i, op(As::load(src + i), i, kWidth));
    if (i < n) part(i, n - i);
}

void copy(void* dst, const void* src, std::int64_t bytes, Walk walk) {
    const std::int64_t words = bytes / 4;
    transform<AsF32<float>>(static_cast<float*>(dst), static_cast<const float*>(src), words, walk,
                            [](Vec::F32 x, std::int64_t, int) { return x; });
    for (std::int64_t i = 4 * words; i < bytes; ++i) static_cast<char*>(dst)[i] = static_cast<const char*>(src)[i];
}

template <class T>  // how f16, bf16 and f32 are scaled
struct NarrowOf {
    using Type = AsF32<T>;
};
template <>
struct NarrowOf<Brain> {
    using Type = BrainPairs;
};
template <class T>
using Narrow = typename NarrowOf<T>::Type;

Vec::F32 times(Vec::F32 x, Vec::F32 by) { return Vec::mul(x, by); }
Vec::Brains times(Vec::Brains x, Vec::F32 by) { return {Vec::mul(x.even, by), Vec::mul(x.odd, by)}; }

Vec::F32 narrow_factor(const Product& c) {
    return Vec::set32(c.narrow == c.narrow ? c.narrow : __builtin_nanf(""));  // see Plain::store
}

template <class T>  // Half, Brain or float
void scale(T* dst, const T* src, std::int64_t n, const Product& c, Walk walk) {
    if (c.use_plain) {
        const auto by = Vec::set(c.plain);
        transform<Widened<T>>(dst, src, n, walk, [=](Vec::F64 x, std::int64_t, int) { return Vec::mul(x, by); });
    } else {
        const auto by = narrow_factor(c);
        transform<Narrow<T>>(dst, src, n, walk,
                             [=](typename Narrow<T>::V x, std::int64_t, int) { return times(x, by); });
    }
}

void scale(double* dst, const double* src, std::int64_t n, const Product& c, Walk walk) {
    const auto pre = Vec::set(c.pre), factor = Vec::set(c.factor);
    transform<AsF64>(dst, src, n, walk,
                     [=](Vec::F64 x, std::int64_t, int) { return Vec::mul(Vec::mul(x, pre), factor); });
}

template <class T>
void clamp(T* dst, const T* src, std::int64_t n, double lo, double hi, Walk walk) {
    const auto least = rounded<T>(lo), most = rounded<T>(hi);
    transform<Natural<T>>(dst, src, n, walk,
                          [=](typename Natural<T>::V x, std::int64_t, int) { return Vec::clamp(x, least, most); });
}

// On two zeros NumPy takes the bound, but for f16 the element.
template <class T>
typename Natural<T>::V clamp_vectors(typename Natural<T>::V x, typename Natural<T>::V lo, typename Natural<T>::V hi) {
    return Vec::clamp_between(x, lo, hi);
}
template <>
Vec::F32 clamp_vectors<Half>(Vec::F32 x, Vec::F32 lo, Vec::F32 hi) {
    return Vec::clamp_between_keeping_zero(x, lo, hi);
}

template <class T>
void clamp_between(T* dst, const T* src, std::int64_t n, const T* lo, const T* hi, Walk walk) {
    using As = Natural<T>;
    transform<As>(dst, src, n, walk, [=](typename As::V x, std::int64_t i, int count) {
        if (count == As::kWidth) return clamp_vectors<T>(x, As::load(lo + i), As::load(hi + i));
        return clamp_vectors<T>(x, As::load_first(lo + i, count), As::load_first(hi + i, count));
    });
}

// Elements before the returned index are within the bounds, or NaN; n if all are.
template <class T>
std::int64_t first_outside(const T* x, std::int64_t n, double lo, double hi, Walk walk) {
    using As = Natural<T>;
    constexpr int kBlock = 4 * As::kWidth;
    const auto least = rounded<T>(lo), most = rounded<T>(hi);
    std::int64_t i = 0;
    if (walk != Walk::in_cache) {
        const std::int64_t length = stream_length<T>(n);
        for (; i < length; i += As::kWidth) {
            const typename As::V v[kStreams] = {As::load(x + i), As::load(x + i + length), As::load(x + i + 2 * length),
                                                As::load(x + i + 3 * length)};
            if (Vec::any_outside(v, least, most)) return i;
        }
        i = kStreams * length;
    }
    for (; i + kBlock <= n; i += kBlock) {
        const typename As::V v[4] = {As::load(x + i), As::load(x + i + As::kWidth), As::load(x + i + 2 * As::kWidth),
                                     As::load(x + i + 3 * As::kWidth)};
        if (Vec::any_outside(v, least, most)) return i;
    }
    T low, high;
    round_once(low, lo);
    round_once(high, hi);
    for (; i < n; ++i)
        if (value_of(x[i]) < value_of(low) || value_of(x[i]) > value_of(high)) return i;
    return n;
}

template <class T>
void drop_nonfinite(T* x, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i)
        if (magnitude_bits(x + i) >= BitsOf<T>::kInfinity) x[i] = T{};
}

}  // namespace
}  // namespace fastclip
