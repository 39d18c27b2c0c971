// SPDX-License-Identifier: BSD-3-Clause
// The sum of examples' gradients, each times its own coefficient, as norm_each has found it.
#include "common.cuh"

namespace fastclip {

constexpr u32 kAhead = 2;  // examples whose vectors are on their way at a time

template <int D>  // kKeep's factors are 1
FASTCLIP_INLINE void add_weighted(double& sum, typename Element<D>::Stored x, const Coefficient& by) {
    sum += as_f64(Element<D>::load(x)) * by.pre * by.factor;
}

template <int D>
FASTCLIP_INLINE void add_vector(double (&sums)[kPerVector<D>], const uint4& v, const Coefficient& by) {
    const u32 words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (u32 j = 0; j < kPerVector<D>; ++j) add_weighted<D>(sums[j], Element<D>::get(words, j), by);
}

template <int D>
FASTCLIP_INLINE typename Element<D>::Stored rounded_sum(double sum) {
    if constexpr (D == kF64)
        return sum;
    else
        return Element<D>::store(narrow(sum));
}

// A lane has one vector, or one element, at a time of all examples: they are added in their order.
template <int D>
FASTCLIP_INLINE void sum_run(const char* data, char* out, u32 count, i64 step, u32 examples, const Verdict* verdicts) {
    using Stored = typename Element<D>::Stored;
    const u32 lane = threadIdx.x % kWarp;
    const bool aligned = (((i64)data | (i64)out | step) & (kVectorBytes - 1)) == 0;
    const u32 vectors = aligned ? count / kPerVector<D> : 0;
#pragma unroll 1
    for (u32 i = lane; i < vectors; i += kWarp) {
        double sums[kPerVector<D>] = {};
        const auto at = [&](u32 b) { return read_only(global(reinterpret_cast<const uint4*>(data + b * step)) + i); };
        u32 b = 0;
#pragma unroll 1
        for (; b + kAhead <= examples; b += kAhead) {
            uint4 v[kAhead];
#pragma unroll
            for (u32 k = 0; k < kAhead; ++k) v[k] = at(b + k);
#pragma unroll
            for (u32 k = 0; k < kAhead; ++k) add_vector<D>(sums, v[k], verdicts[b + k].by);
        }
#pragma unroll 1
        for (; b < examples; ++b) add_vector<D>(sums, at(b), verdicts[b].by);
        u32 words[4] = {0, 0, 0, 0};
#pragma unroll
        for (u32 j = 0; j < kPerVector<D>; ++j) Element<D>::put(words, j, rounded_sum<D>(sums[j]));
        global(reinterpret_cast<uint4*>(out))[i] = {words[0], words[1], words[2], words[3]};
    }
#pragma unroll 1
    for (u32 i = vectors * kPerVector<D> + lane; i < count; i += kWarp) {
        double sum = 0.0;
#pragma unroll 1
        for (u32 b = 0; b < examples; ++b)
            add_weighted<D>(sum, read_only(global(reinterpret_cast<const Stored*>(data + b * step)) + i),
                            verdicts[b].by);
        global(reinterpret_cast<Stored*>(out))[i] = rounded_sum<D>(sum);
    }
}

}  // namespace fastclip

using namespace fastclip;

// `plan` is that of one example: the others are at multiples of `steps` behind it. The sums begin at `starts` in `out`.
extern "C" __global__ void __launch_bounds__(kThreads, 4)
    weighted_sum(Plan plan, char* out, const i64* starts, const i64* steps, const Verdict* verdicts, u32 examples) {
    const u32 warps = gridDim.x * kWarps;
    for (u32 c = blockIdx.x * kWarps + threadIdx.x / kWarp; c < plan.chunk_count; c += warps) {
        const Chunk chunk = plan.chunks[c];
        const char* data = address(plan, chunk);
        char* to = out + starts[chunk.array] + chunk.start;
        const i64 step = steps[chunk.array];
        with_dtype(chunk.dtype,
                   [&](auto tag) { sum_run<decltype(tag)::value>(data, to, chunk.count, step, examples, verdicts); });
    }
}
