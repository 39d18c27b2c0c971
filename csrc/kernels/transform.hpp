// SPDX-License-Identifier: BSD-3-Clause
// One read and one write of a buffer, in place or to another one.
#pragma once

#include "kernels/lanes.hpp"
#include "kernels/reduce.hpp"

namespace fastclip {
namespace {

// From this many elements on, stores are aligned first: NumPy's large blocks start 16 bytes into a cache line, and
// stores across lines cost a quarter of the speed in cache (142 against 193 GB/s at 4 MB).
inline constexpr std::int64_t kAlignFrom = 1024;

// dst = op(src) for vectors of kWidth elements; the last, incomplete one goes through a copy, so that no byte
// beyond the buffer is read or written.
template <int kWidth, class T, class Op>
void transform(T* dst, const T* src, std::int64_t n, Op op) {
    const auto part = [&](std::int64_t i, std::int64_t count) {
        Row<T, kWidth> row(src + i, count, T(0));
        op(row.v, row.v);
        __builtin_memcpy(dst + i, row.v, static_cast<unsigned long>(count) * sizeof(T));
    };
    std::int64_t i = 0;
    if (n >= kAlignFrom) {
        constexpr std::uintptr_t kLine = kWidth * sizeof(T);
        const std::uintptr_t beyond = reinterpret_cast<std::uintptr_t>(dst) % kLine;
        if (beyond) part(0, i = static_cast<std::int64_t>((kLine - beyond) / sizeof(T)));
    }
    for (; i + 4 * kWidth <= n; i += 4 * kWidth) {
        FASTCLIP_UNROLL
        for (int j = 0; j < 4; ++j) op(dst + i + j * kWidth, src + i + j * kWidth);
    }
    for (; i + kWidth <= n; i += kWidth) op(dst + i, src + i);
    if (i < n) part(i, n - i);
}

void scale(float* dst, const float* src, std::int64_t n, const Product& c) {
    using V = Vec;
    if (c.use_plain) {
        const auto by = V::set(c.plain);
        transform<V::kF64>(dst, src, n, [=](float* d, const float* s) { V::narrow(d, V::mul(V::widen(s), by)); });
    } else {
        const auto by = V::set32(c.narrow);
        transform<V::kF32>(dst, src, n, [=](float* d, const float* s) { V::store(d, V::mul(V::load(s), by)); });
    }
}

void scale(double* dst, const double* src, std::int64_t n, const Product& c) {
    using V = Vec;
    const auto pre = V::set(c.pre), factor = V::set(c.factor);
    transform<V::kF64>(dst, src, n,
                       [=](double* d, const double* s) { V::store(d, V::mul(V::mul(V::load(s), pre), factor)); });
}

void clamp(float* dst, const float* src, std::int64_t n, double lo, double hi) {
    using V = Vec;
    const auto least = V::set32(static_cast<float>(lo)), most = V::set32(static_cast<float>(hi));
    transform<V::kF32>(dst, src, n, [=](float* d, const float* s) { V::store(d, V::clamp(V::load(s), least, most)); });
}

void clamp(double* dst, const double* src, std::int64_t n, double lo, double hi) {
    using V = Vec;
    const auto least = V::set(lo), most = V::set(hi);
    transform<V::kF64>(dst, src, n,
                       [=](double* d, const double* s) { V::store(d, V::clamp(V::load(s), least, most)); });
}

template <class T>
void drop_nonfinite(T* x, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i)
        if (magnitude_bits(x + i) >= BitsOf<T>::kInfinity) x[i] = T(0);
}

}  // namespace
}  // namespace fastclip
