// SPDX-License-Identifier: BSD-3-Clause
// One read and one write of a buffer, in place or to another one.
#pragma once

#include "kernels/lanes.hpp"
#include "kernels/reduce.hpp"

namespace fastclip {
namespace {

// How elements become vectors and vectors elements: f32 as they are, f64 as they are, f32 by way of f64.

struct AsF32 {
    using T = float;
    static constexpr int kWidth = Vec::kF32;
    static Vec::F32 load(const T* p) { return Vec::load(p); }
    static Vec::F32 load_first(const T* p, int count) { return Vec::load_first(p, count); }
    static void store(T* p, Vec::F32 a) { Vec::store(p, a); }
    static void store_first(T* p, Vec::F32 a, int count) { Vec::store_first(p, a, count); }
};

struct AsF64 {
    using T = double;
    static constexpr int kWidth = Vec::kF64;
    static Vec::F64 load(const T* p) { return Vec::load(p); }
    static Vec::F64 load_first(const T* p, int count) { return Vec::load_first(p, count); }
    static void store(T* p, Vec::F64 a) { Vec::store(p, a); }
    static void store_first(T* p, Vec::F64 a, int count) { Vec::store_first(p, a, count); }
};

struct Widened {
    using T = float;
    static constexpr int kWidth = Vec::kF64;
    static Vec::F64 load(const T* p) { return Vec::widen(p); }
    static Vec::F64 load_first(const T* p, int count) { return Vec::widen_first(p, count); }
    static void store(T* p, Vec::F64 a) { Vec::narrow(p, a); }
    static void store_first(T* p, Vec::F64 a, int count) { Vec::narrow_first(p, a, count); }
};

// From this many elements on, stores are aligned first: NumPy's large blocks start 16 bytes into a cache line, and
// stores across lines cost a quarter of the speed in cache (142 against 193 GB/s at 4 MB).
inline constexpr std::int64_t kAlignFrom = 1024;

// dst = op(src), a vector at a time. Of an incomplete one no byte beyond the buffer is read or written.
template <class As, class Op>
void transform(typename As::T* dst, const typename As::T* src, std::int64_t n, Op op) {
    constexpr int kWidth = As::kWidth;
    const auto part = [&](std::int64_t i, std::int64_t count) {
        const int some = static_cast<int>(count);
        As::store_first(dst + i, op(As::load_first(src + i, some)), some);
    };
    std::int64_t i = 0;
    if (n >= kAlignFrom) {
        constexpr std::uintptr_t kLine = kWidth * sizeof(typename As::T);
        const std::uintptr_t beyond = reinterpret_cast<std::uintptr_t>(dst) % kLine;
        if (beyond) part(0, i = static_cast<std::int64_t>((kLine - beyond) / sizeof(typename As::T)));
    }
    for (; i + 4 * kWidth <= n; i += 4 * kWidth) {
        FASTCLIP_UNROLL
        for (int j = 0; j < 4; ++j) As::store(dst + i + j * kWidth, op(As::load(src + i + j * kWidth)));
    }
    for (; i + kWidth <= n; i += kWidth) As::store(dst + i, op(As::load(src + i)));
    if (i < n) part(i, n - i);
}

void scale(float* dst, const float* src, std::int64_t n, const Product& c) {
    if (c.use_plain) {
        const auto by = Vec::set(c.plain);
        transform<Widened>(dst, src, n, [=](Vec::F64 x) { return Vec::mul(x, by); });
    } else {
        const auto by = Vec::set32(c.narrow);
        transform<AsF32>(dst, src, n, [=](Vec::F32 x) { return Vec::mul(x, by); });
    }
}

void scale(double* dst, const double* src, std::int64_t n, const Product& c) {
    const auto pre = Vec::set(c.pre), factor = Vec::set(c.factor);
    transform<AsF64>(dst, src, n, [=](Vec::F64 x) { return Vec::mul(Vec::mul(x, pre), factor); });
}

void clamp(float* dst, const float* src, std::int64_t n, double lo, double hi) {
    const auto least = Vec::set32(static_cast<float>(lo)), most = Vec::set32(static_cast<float>(hi));
    transform<AsF32>(dst, src, n, [=](Vec::F32 x) { return Vec::clamp(x, least, most); });
}

void clamp(double* dst, const double* src, std::int64_t n, double lo, double hi) {
    const auto least = Vec::set(lo), most = Vec::set(hi);
    transform<AsF64>(dst, src, n, [=](Vec::F64 x) { return Vec::clamp(x, least, most); });
}

template <class T>
void drop_nonfinite(T* x, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i)
        if (magnitude_bits(x + i) >= BitsOf<T>::kInfinity) x[i] = T(0);
}

}  // namespace
}  // namespace fastclip
