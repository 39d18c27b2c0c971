// SPDX-License-Identifier: BSD-3-Clause
// What is written: elements times a coefficient (scale), elements within bounds (clamp). A vector of 16 bytes in which
// nothing changes is not written.
#include "common.cuh"

namespace fastclip {

struct Scale {
    float narrow;
    bool tiny;  // the coefficient no longer keeps f32's 24 bits clear of its subnormal numbers
    bool clip, drop;
    double plain, pre, factor;

    __device__ explicit Scale(const Verdict& verdict)
        : narrow(fastclip::narrow(verdict.by.plain)),
          tiny(verdict.by.plain < kPlainBelow),
          clip(verdict.by.clip),
          drop(verdict.drop),
          plain(verdict.by.plain),
          pre(verdict.by.pre),
          factor(verdict.by.factor) {}

    __device__ float product(float x) const { return tiny ? fastclip::narrow(widen(x) * plain) : multiply(x, narrow); }
    __device__ double product(double x) const { return x * pre * factor; }

    template <class T>
    __device__ bool operator()(T& x) const {  // false: x stays as it is
        if (drop && !is_finite_value(x)) {
            x = 0;
            return true;
        }
        if (clip) x = product(x);
        return clip;
    }
};

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

template <int D, class Op>
FASTCLIP_INLINE void change_element(typename Element<D>::Stored* at, const Op& op) {
    auto x = Element<D>::load(*at);
    if (op(x)) *at = Element<D>::store(x);
}

template <int D, class Op>
FASTCLIP_INLINE void change_vector(uint4* at, const uint4& v, const Op& op) {
    u32 words[4] = {v.x, v.y, v.z, v.w};
    bool changed = false;
#pragma unroll
    for (u32 i = 0; i < kPerVector<D>; ++i) {
        auto x = Element<D>::load(Element<D>::get(words, i));
        if (op(x)) {
            Element<D>::put(words, i, Element<D>::store(x));
            changed = true;
        }
    }
    if (changed) *at = {words[0], words[1], words[2], words[3]};
}

template <int D, class Op>
FASTCLIP_INLINE void change_run(char* data, u32 count, const Op& op) {
    using Stored = typename Element<D>::Stored;
    const u32 lane = threadIdx.x % kWarp;
    const Split<D> split = Split<D>::of(data, count);
    Stored* head = global(reinterpret_cast<Stored*>(data));
    if (lane < split.head) change_element<D>(head + lane, op);
    uint4* at = global(reinterpret_cast<uint4*>(head + split.head));
    u32 i = lane;
#pragma unroll 1
    for (; i + 3 * kWarp < split.vectors; i += 4 * kWarp) {
        const uint4 a = at[i], b = at[i + kWarp], c = at[i + 2 * kWarp], d = at[i + 3 * kWarp];
        change_vector<D>(at + i, a, op);
        change_vector<D>(at + i + kWarp, b, op);
        change_vector<D>(at + i + 2 * kWarp, c, op);
        change_vector<D>(at + i + 3 * kWarp, d, op);
    }
#pragma unroll 1
    for (; i < split.vectors; i += kWarp) change_vector<D>(at + i, at[i], op);
    if (lane < split.tail) change_element<D>(head + (count - split.tail + lane), op);
}

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
        const Chunk chunk = plan.chunks[plan.chunk_count - 1 - i];
        const Verdict& verdict = plan.verdicts[request.each ? chunk.array : 0];
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
