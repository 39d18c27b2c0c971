// SPDX-License-Identifier: BSD-3-Clause
// The sum of examples' gradients, each times its own coefficient, as norm_each has found it.
#include "common.cuh"

namespace fastclip {

template <int D>
FASTCLIP_INLINE void add_weighted(double& sum, typename Element<D>::Stored x, const Verdict& verdict) {
    const double value = as_f64(Element<D>::load(x));
    sum += verdict.by.clip ? value * verdict.by.pre * verdict.by.factor : value;
}

template <int D>  // a lane has one element at a time of all examples: they are added in their order
FASTCLIP_INLINE void sum_run(const char* data, char* out, u32 count, i64 step, u32 examples, const Verdict* verdicts) {
    using Stored = typename Element<D>::Stored;
    const Stored* in = global(reinterpret_cast<const Stored*>(data));
    Stored* to = global(reinterpret_cast<Stored*>(out));
    const i64 elements = step / (i64)sizeof(Stored);
    for (u32 i = threadIdx.x % kWarp; i < count; i += kWarp) {
        double sum = 0.0;
#pragma unroll 4
        for (u32 b = 0; b < examples; ++b) add_weighted<D>(sum, read_only(in + b * elements + i), verdicts[b]);
        if constexpr (D == kF64)
            to[i] = sum;
        else
            to[i] = Element<D>::store(narrow(sum));
    }
}

}  // namespace fastclip

using namespace fastclip;

// `plan` is that of the sums: chunks of one example's elements, whose first one's are at the same place of the array.
extern "C" __global__ void __launch_bounds__(kThreads, 4)
    weighted_sum(Plan plan, const u64* sums, const i64* steps, const Verdict* verdicts, u32 examples) {
    const u32 warps = gridDim.x * kWarps;
    for (u32 c = blockIdx.x * kWarps + threadIdx.x / kWarp; c < plan.chunk_count; c += warps) {
        const Chunk chunk = plan.chunks[c];
        const char* data = address(plan, chunk);
        char* out = reinterpret_cast<char*>(read_only(sums + chunk.array)) + chunk.start;
        const i64 step = steps[chunk.array];
        with_dtype(chunk.dtype,
                   [&](auto tag) { sum_run<decltype(tag)::value>(data, out, chunk.count, step, examples, verdicts); });
    }
}
