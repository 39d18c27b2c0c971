// SPDX-License-Identifier: BSD-3-Clause
// Lets g++ compile the CUDA sources and run them on the CPU: one fiber for each CUDA thread.
//
// The fibers of a block, and of the blocks of a cluster, share one OS thread. Shared memory is an arena for each block,
// filled with NaN before; behind its dynamic part is a page that nobody may touch. Clusters may be spread over OS
// threads. The order in which fibers run follows a seed; a barrier that can never be met, a collective whose lanes
// disagree about their mask, and shared memory of a block that has not begun or has ended, end the launch with a
// message.
//
// The scheduler is in emulator.cpp, which is built without -fsanitize=thread: ThreadSanitizer then sees the kernels and
// not the machinery.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

namespace emulator {

struct Launch {
    dim3 grid, block;
    unsigned cluster;  // blocks
    std::size_t shared;
    unsigned seed;
    void (*body)(void*);
    void* arguments;
};

struct Lane {  // what a kernel may ask about its own thread
    dim3 thread;
    unsigned lane, warp;
    void* warp_key;
};

struct Block {  // ... and about its own block
    dim3 index;
    const Launch* launch;
    void* cluster_key;
};

extern thread_local Lane* lane;
extern thread_local Block* block;

void wait_at_barrier();
void wait_at_cluster_barrier();
unsigned long long exchange(unsigned mask, unsigned long long value, unsigned source);
void* shared(unsigned id, std::size_t size);
void* dynamic_shared();
const void* at_rank(const void* p, unsigned rank);
std::string run(const Launch& launch, unsigned workers);

inline void order(void* at, bool acquire) {  // tells ThreadSanitizer what a barrier orders
#if defined(__SANITIZE_THREAD__)
    if (acquire)
        __tsan_acquire(at);
    else
        __tsan_release(at);
#else
    (void)at;
    (void)acquire;
#endif
}

inline void barrier() {
    void* key = block;
    order(key, false);
    wait_at_barrier();
    order(key, true);
}

inline void cluster_barrier() {
    void* key = block->cluster_key;
    order(key, false);
    wait_at_cluster_barrier();
    order(key, true);
}

template <class T>
T shuffle(unsigned mask, T value, unsigned source) {
    static_assert(sizeof(T) <= sizeof(unsigned long long));
    unsigned long long word = 0;
    std::memcpy(&word, &value, sizeof value);
    void* key = static_cast<char*>(lane->warp_key) + __builtin_ctz(mask) * 8;
    order(key, false);
    word = exchange(mask, word, source);
    order(key, true);
    std::memcpy(&value, &word, sizeof value);
    return value;
}

// CUDA's atomics order nothing, its fences do. ThreadSanitizer knows no fences, so all of them meet at one place: it
// then sees it when one is missing.
inline void fence() {
    static char place;
    order(&place, false);
    order(&place, true);
}

// Unpacks cuLaunchKernel's void* arguments by the kernel's own signature.
template <class... Parameters>
std::string launch(void (*kernel)(Parameters...), void** arguments, Launch launch, unsigned workers) {
    struct Call {
        void (*kernel)(Parameters...);
        void** arguments;
    } call = {kernel, arguments};
    launch.body = [](void* opaque) {
        const Call& c = *static_cast<Call*>(opaque);
        [&]<std::size_t... I>(std::index_sequence<I...>) {
            c.kernel(*static_cast<Parameters*>(c.arguments[I])...);
        }(std::index_sequence_for<Parameters...>{});
    };
    launch.arguments = &call;
    return run(launch, workers);
}

template <class To, class From>
To same_bits(From from) {
    To to;
    static_assert(sizeof to == sizeof from);
    std::memcpy(&to, &from, sizeof to);
    return to;
}

}  // namespace emulator

#define __global__
#define __device__
#define __launch_bounds__(...)
#define __cluster_dims__(...)
#define threadIdx (emulator::lane->thread)
#define blockIdx (emulator::block->index)
#define blockDim (emulator::block->launch->block)
#define gridDim (emulator::block->launch->grid)
#define __syncthreads() emulator::barrier()
#define __threadfence() emulator::fence()

template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta) {
    const unsigned source = emulator::lane->lane + delta;
    return emulator::shuffle(mask, value, source > 31 ? emulator::lane->lane : source);
}
template <class T>
T __shfl_sync(unsigned mask, T value, unsigned source) {
    return emulator::shuffle(mask, value, source & 31);
}
inline void __syncwarp() { emulator::shuffle(0xffffffffu, 0u, emulator::lane->lane); }
#if defined(__SANITIZE_THREAD__)
constexpr int kAtomicOrder = __ATOMIC_RELAXED;
#else
constexpr int kAtomicOrder = __ATOMIC_SEQ_CST;
#endif
inline unsigned atomicAdd(unsigned* to, unsigned value) { return __atomic_fetch_add(to, value, kAtomicOrder); }
inline unsigned atomicExch(unsigned* to, unsigned value) { return __atomic_exchange_n(to, value, kAtomicOrder); }

// ---- what ptx.cuh defines for a GPU

#define FASTCLIP_INLINE static inline
#define FASTCLIP_SHARED(type, name) type& name = *static_cast<type*>(emulator::shared(__COUNTER__, sizeof(type)))
#define FASTCLIP_DYNAMIC_SHARED(name) uint4* name = static_cast<uint4*>(emulator::dynamic_shared())

namespace fastclip {

FASTCLIP_INLINE float float_of(unsigned bits) { return emulator::same_bits<float>(bits); }
FASTCLIP_INLINE unsigned bits_of(float x) { return emulator::same_bits<unsigned>(x); }
FASTCLIP_INLINE double double_of(unsigned high, unsigned low) {
    return emulator::same_bits<double>(static_cast<unsigned long long>(high) << 32 | low);
}
FASTCLIP_INLINE unsigned high_of(double x) {
    return static_cast<unsigned>(emulator::same_bits<unsigned long long>(x) >> 32);
}
FASTCLIP_INLINE unsigned low_of(double x) { return static_cast<unsigned>(emulator::same_bits<unsigned long long>(x)); }

FASTCLIP_INLINE float multiply(float a, float b) { return a * b; }
FASTCLIP_INLINE float add(float a, float b) { return a + b; }
FASTCLIP_INLINE float multiply_add(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
FASTCLIP_INLINE bool less(float a, float b) { return a < b; }
FASTCLIP_INLINE double widen(float x) { return static_cast<double>(x); }
FASTCLIP_INLINE float narrow(double x) { return static_cast<float>(x); }

FASTCLIP_INLINE float float_of_half(unsigned short bits) {
    return static_cast<float>(emulator::same_bits<_Float16>(bits));
}
FASTCLIP_INLINE unsigned short half_of(float x) {
    return emulator::same_bits<unsigned short>(static_cast<_Float16>(x));
}
FASTCLIP_INLINE unsigned short brain_of(float x) {
    const unsigned b = bits_of(x);
    const bool nan = (b & 0x7fffffffu) > 0x7f800000u;
    return static_cast<unsigned short>((nan ? b | 0x400000u : b + 0x7fffu + (b >> 16 & 1u)) >> 16);
}

FASTCLIP_INLINE unsigned opaque(unsigned x) { return x; }
template <class T>
FASTCLIP_INLINE T* global(T* p) {
    return p;
}
template <class T>
FASTCLIP_INLINE T read_only(const T* p) {
    return *p;
}
template <class T>
FASTCLIP_INLINE T written_by_others(const T* p) {
    return *p;
}
FASTCLIP_INLINE void cluster_barrier() { emulator::cluster_barrier(); }
template <class T>
FASTCLIP_INLINE T of_rank(const T* p, unsigned rank) {
    return *static_cast<const T*>(emulator::at_rank(p, rank));
}

}  // namespace fastclip
