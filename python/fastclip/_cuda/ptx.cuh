// SPDX-License-Identifier: BSD-3-Clause
// What C++ can't say: the only lines that a CPU does not run. tests/cuda/emulator.hpp defines the same names.
//
// CuPy compiles with -ftz=true, which flushes f32's subnormal numbers in every operator; these instructions keep them.
// No cuda_fp16.h: headers would have to be found at run time, and CuPy's cache does not notice when they change.
#pragma once

#ifdef __CUDACC__

#define FASTCLIP_INLINE static __device__ __forceinline__
#define FASTCLIP_SHARED(type, name) __shared__ type name
#define FASTCLIP_DYNAMIC_SHARED(name) extern __shared__ uint4 name[]

namespace fastclip {

FASTCLIP_INLINE float float_of(unsigned bits) { return __uint_as_float(bits); }
FASTCLIP_INLINE unsigned bits_of(float x) { return __float_as_uint(x); }
FASTCLIP_INLINE double double_of(unsigned high, unsigned low) { return __hiloint2double((int)high, (int)low); }
FASTCLIP_INLINE unsigned high_of(double x) { return (unsigned)__double2hiint(x); }
FASTCLIP_INLINE unsigned low_of(double x) { return (unsigned)__double2loint(x); }

FASTCLIP_INLINE float multiply(float a, float b) {
    float r;
    asm("mul.rn.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
    return r;
}
FASTCLIP_INLINE float add(float a, float b) {
    float r;
    asm("add.rn.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
    return r;
}
FASTCLIP_INLINE float multiply_add(float a, float b, float c) {
    float r;
    asm("fma.rn.f32 %0, %1, %2, %3;" : "=f"(r) : "f"(a), "f"(b), "f"(c));
    return r;
}
FASTCLIP_INLINE bool less(float a, float b) {
    unsigned r;
    asm("set.lt.u32.f32 %0, %1, %2;" : "=r"(r) : "f"(a), "f"(b));
    return r != 0u;
}
FASTCLIP_INLINE double widen(float x) {
    double r;
    asm("cvt.f64.f32 %0, %1;" : "=d"(r) : "f"(x));
    return r;
}
FASTCLIP_INLINE float narrow(double x) {
    float r;
    asm("cvt.rn.f32.f64 %0, %1;" : "=f"(r) : "d"(x));
    return r;
}

FASTCLIP_INLINE float float_of_half(unsigned short bits) {
    float r;
    asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(bits));
    return r;
}
FASTCLIP_INLINE unsigned short half_of(float x) {
    unsigned short r;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r) : "f"(x));
    return r;
}
FASTCLIP_INLINE unsigned short brain_of(float x) {
#if __CUDA_ARCH__ >= 800
    unsigned short r;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r) : "f"(x));
    return r;
#else
    const unsigned b = bits_of(x);
    const bool nan = (b & 0x7fffffffu) > 0x7f800000u;
    return (unsigned short)((nan ? b | 0x400000u : b + 0x7fffu + (b >> 16 & 1u)) >> 16);
#endif
}

FASTCLIP_INLINE unsigned opaque(unsigned x) {  // what is reckoned with it is not kept in registers over a loop's trips
    asm volatile("" : "+r"(x));
    return x;
}
template <class T>
FASTCLIP_INLINE T* global(T* p) {  // pointers out of a table get generic loads and stores otherwise: half as many again
    __builtin_assume(__isGlobal(p));
    return p;
}
template <class T>
FASTCLIP_INLINE T read_only(const T* p) {
    return __ldg(p);
}
template <class T>
FASTCLIP_INLINE T written_by_others(const T* p) {  // past L1, which other blocks' stores don't reach
    return __ldcg(p);
}

// ---- clusters, from sm_90 on

FASTCLIP_INLINE void cluster_barrier() {  // of all threads of all blocks; what they have written before is seen behind
    asm volatile("barrier.cluster.arrive.release;\n\tbarrier.cluster.wait.acquire;" ::: "memory");
}
FASTCLIP_INLINE unsigned address_at(const void* p, unsigned rank) {
    unsigned at;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(at) : "r"((unsigned)__cvta_generic_to_shared(p)), "r"(rank));
    return at;
}
FASTCLIP_INLINE double of_rank(const double* p, unsigned rank) {  // the same place in shared memory of another block
    double x;
    asm volatile("ld.shared::cluster.f64 %0, [%1];" : "=d"(x) : "r"(address_at(p, rank)) : "memory");
    return x;
}
FASTCLIP_INLINE unsigned of_rank(const unsigned* p, unsigned rank) {
    unsigned x;
    asm volatile("ld.shared::cluster.u32 %0, [%1];" : "=r"(x) : "r"(address_at(p, rank)) : "memory");
    return x;
}

}  // namespace fastclip

#endif
