// SPDX-License-Identifier: BSD-3-Clause
// Round to nearest and keep subnormals while in scope, whatever the caller set (torch.set_flush_denormal, a library
// built with -ffast-math, fesetround), then give the caller its state back, exception flags included.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace fastclip {

class FpuGuard {
#if defined(__x86_64__)
  public:
    FpuGuard() : saved_(_mm_getcsr()) { _mm_setcsr(0x1f80); }  // all exceptions masked, no FTZ, no DAZ
    ~FpuGuard() { _mm_setcsr(saved_); }

  private:
    unsigned saved_;
#elif defined(__aarch64__)
  public:
    FpuGuard() {
        __asm__ volatile("mrs %0, fpcr" : "=r"(saved_));
        __asm__ volatile("msr fpcr, %0" ::"r"(std::uint64_t{0}));
    }
    ~FpuGuard() { __asm__ volatile("msr fpcr, %0" ::"r"(saved_)); }

  private:
    std::uint64_t saved_;
#else
  public:
    FpuGuard() {}
#endif
    FpuGuard(const FpuGuard&) = delete;
    FpuGuard& operator=(const FpuGuard&) = delete;
};

}  // namespace fastclip
