// SPDX-License-Identifier: BSD-3-Clause
#include "isa/cpu.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace fastclip::cpu {

template <>
bool supported<Isa::baseline>() {
    return true;
}

#if defined(__x86_64__)
namespace {

bool has_f16c() {  // clang 14's __builtin_cpu_supports does not know it
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C);
}

}  // namespace

// __builtin_cpu_supports asks CPUID and, for the register state that the system saves, XGETBV.
template <>
bool supported<Isa::avx2>() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") &&
           has_f16c();
}

template <>
bool supported<Isa::avx512>() {
    return supported<Isa::avx2>() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#elif defined(__aarch64__)
template <>
bool supported<Isa::neon>() {  // part of the architecture
    return true;
}
#endif

}  // namespace fastclip::cpu
