// SPDX-License-Identifier: BSD-3-Clause
#include "isa/cpu.hpp"

namespace fastclip::cpu {

template <>
bool supported<Isa::baseline>() {
    return true;
}

#if defined(__x86_64__)
// __builtin_cpu_supports asks CPUID and, for the register state that the system saves, XGETBV.
template <>
bool supported<Isa::avx2>() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") &&
           __builtin_cpu_supports("f16c");
}

template <>
bool supported<Isa::avx512>() {
    return supported<Isa::avx2>() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

}  // namespace fastclip::cpu
