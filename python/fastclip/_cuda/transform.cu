// SPDX-License-Identifier: BSD-3-Clause
// What is written: elements times a coefficient (scale), elements within bounds (clamp). A vector of 16 bytes in which
// nothing changes is not written.
#include "change.cuh"
#include "common.cuh"

namespace fastclip {

// The bounds of one dtype, rounded to it.
struct Bounds {
    double lo, hi;
};

struct Clamp {
    double lo, hi;
    float narrow_lo, narrow_hi;
    bool nan;

    __device__ explicit Clamp(const Bounds& bounds)
        : lo(bounds.lo),
          hi(bounds.hi),
          narrow_lo(narrow(bounds.lo)),
          narrow_hi(narrow(bounds.hi)),
          nan(lo != lo || hi != hi) {}

    __device__ bool operator()(float& x) const { return put(x, narrow_lo, narrow_hi); }
    __device__ bool operator()(double& x) const { return put(x, lo, hi); }

  private:
    __device__ static bool below(float a, float b) { return less(a, b); }
    __device__ static bool below(double a, double b) { return a < b; }

    template <class T>
    __device__ bool put(T& x, T least, T most) const {  // lo wins over hi; NaN stays, a NaN bound makes everything NaN
        if (nan) {
            x = (T)kNan;
            return true;
        }
        const bool over = below(most, x);
        if (over) x = most;
        const bool under = below(x, least);
        if (under) x = least;
        return over || under;
    }
};

template <class Op>
FASTCLIP_INLINE void change_chunk(const Plan& plan, const Chunk& chunk, const Op& op) {
    char* data = address(plan, chunk);
    with_dtype(chunk.dtype, [&](auto tag) { change_run<decltype(tag)::value>(data, chunk.count, op); });
}

}  // namespace fastclip

using namespace fastclip;

// Backwards: what norm_list has read last is still in L2.
extern "C" __global__ void __launch_bounds__(kThreads, 4) scale(Plan plan, Request request) {
    const u32 warps = gridDim.x * kWarps;
    for (u32 i = blockIdx.x * kWarps + threadIdx.x / kWarp; i < plan.chunk_count; i += warps) {
        if (!request.each && !plan.verdicts->by.clip && !plan.verdicts->drop) return;
        const u32 c = plan.chunk_count - 1 - i;
        const Chunk chunk = plan.chunks[c];
        const Verdict& verdict = plan.verdicts[request.each ? group_of(plan, chunk, c) : 0];
        if (chunk.repeat || !(verdict.by.clip || verdict.drop)) continue;
        change_chunk(plan, chunk, Scale(verdict));
    }
}

extern "C" __global__ void __launch_bounds__(kThreads, 4)
    clamp(Plan plan, Bounds f16, Bounds bf16, Bounds f32, Bounds f64) {
    const u32 warps = gridDim.x * kWarps;
    for (u32 c = blockIdx.x * kWarps + threadIdx.x / kWarp; c < plan.chunk_count; c += warps) {
        const Chunk chunk = plan.chunks[c];
        if (chunk.repeat) continue;
        const u32 d = chunk.dtype;
        change_chunk(plan, chunk, Clamp(d == kF16 ? f16 : d == kBF16 ? bf16 : d == kF32 ? f32 : f64));
    }
}
