// SPDX-License-Identifier: BSD-3-Clause
// Which vectors this object's kernels use. Internal linkage only, and no inline function of the standard library:
// a weak symbol compiled for AVX-512 could be the copy that the linker keeps for every CPU.
#pragma once

#include <cstdint>

#include "core/kernel_table.hpp"
#include "core/sum.hpp"

#if defined(__AVX512F__)
#include "kernels/simd/avx2.hpp"
#include "kernels/simd/avx512.hpp"
#elif defined(__AVX2__)
#include "kernels/simd/avx2.hpp"
#elif defined(FASTCLIP_NEON)  // a flag of its row: every arm64 has NEON, and baseline stays plain loops
#include "kernels/simd/neon.hpp"
#else
#include "kernels/simd/plain.hpp"
#endif

#define FASTCLIP_UNROLL _Pragma("GCC unroll 16")

namespace fastclip {
namespace {

#if defined(__AVX512F__)
using Vec = Avx512;
using WidenVec = Avx2;  // f32 to f64: 102 GB/s with 256-bit conversions, 61 with 512-bit ones (Zen 4, L2)
#elif defined(__AVX2__)
using Vec = Avx2;
using WidenVec = Avx2;
#elif defined(FASTCLIP_NEON)
using Vec = Neon;
using WidenVec = Neon;
#else
using Vec = Plain;
using WidenVec = Plain;
#endif

inline constexpr int kLineBytes = 64;

constexpr int least(int a, int b) { return a < b ? a : b; }

}  // namespace
}  // namespace fastclip
