// SPDX-License-Identifier: BSD-3-Clause
// The kernels of one ISA, as the engine calls them. Every table gives the same bits.
#pragma once

#include <cstdint>

#include "core/dtype.hpp"

namespace fastclip {

// A sum as hi + lo, unevaluated. lo holds what rounding took from hi; it is 0 where the sum needs no such care.
struct Partial {
    double hi, lo;
};

struct Counts {
    std::int64_t nonfinite, zeros;
};

// How a coefficient c reaches an element: f32 takes x * narrow, or RN(f64(x) * plain) when c is so small that its
// f32 value would lose bits; f64 takes (x * pre) * factor, where pre is 1 unless c itself is near or below the
// smallest normal number.
struct Product {
    float narrow;
    bool use_plain;
    double plain, pre, factor;
};

// A buffer that waits to be scaled; null dst: it stays as it is.
struct Waiting {
    void* dst;
    const void* src;
    Product by;
};

// How a transform goes through memory. In cache one stream is fastest (79 GB/s against 70 with four at 4 MB); beyond it
// four are (25 against 31 GB/s from memory, 26 against 42 at 16 MB: Zen 3), and a result that nobody will find in
// cache anyway is stored past it.
enum class Walk : std::uint8_t { in_cache, from_memory, past_cache };

// src and dst are the same or do not overlap. n is any size; pointers are aligned to one element.
struct Kernels {
    Partial (*sumsq)(const void* x, std::int64_t n, double scale);  // of x * scale; scale is a power of two
    // of four buffers of n elements, while four others of n are scaled (waiting may be null: none)
    void (*sumsq_four)(const void* const (&x)[4], std::int64_t n, Partial* to, const Waiting* waiting);
    Partial (*sumabs)(const void* x, std::int64_t n);
    double (*maxabs)(const void* x, std::int64_t n);  // NaN if any is NaN, 0 for none
    Counts (*counts)(const void* x, std::int64_t n);
    void (*scale)(void* dst, const void* src, std::int64_t n, const Product& c, Walk walk);
    // lo wins over hi; NaN stays; bounds are rounded to the dtype
    void (*clamp)(void* dst, const void* src, std::int64_t n, double lo, double hi, Walk walk);
    // bounds of the same dtype for each element: hi wins over lo, NaN over both
    void (*clamp_between)(void* dst, const void* src, std::int64_t n, const void* lo, const void* hi, Walk walk);
    std::int64_t (*first_outside)(const void* x, std::int64_t n, double lo, double hi, Walk walk);  // n: there is none
    void (*drop_nonfinite)(void* x, std::int64_t n);                                                // each becomes 0

    // An update is a difference of two buffers, x - y.
    Partial (*update_sumsq)(const void* x, const void* y, std::int64_t n, double scale);  // of (x - y) * scale
    // x = y + (x - y) * c; y is the same as x or does not overlap it
    void (*scale_update)(void* x, const void* y, std::int64_t n, const Product& c, Walk walk);
    void (*drop_nonfinite_update)(void* x, const void* y, std::int64_t n);  // where x is not finite it becomes y
};

struct KernelTable {
    const char* name;
    Kernels of[kDTypes];
    void (*copy)(void* dst, const void* src, std::int64_t bytes, Walk walk);  // to an address divisible by 4

    const Kernels& operator[](DType dtype) const { return of[static_cast<int>(dtype)]; }
};

}  // namespace fastclip
