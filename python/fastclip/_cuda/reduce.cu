// SPDX-License-Identifier: BSD-3-Clause
// Norms, and what the rule makes of them: of a whole list (norm_list) or of each group (norm_each), in one launch. A
// group is an array, a row, or the rows of one example.
#include "common.cuh"
#include "total.cuh"
#include "verdict.cuh"

using namespace fastclip;

// A lane is a run of chunks, of which the warps of a block take one each in turn. How many lanes there are depends on
// the list alone, and partial sums are added in the order of the lanes, by the block that ends last: the same bits
// whatever the grid, the chip and the schedule, and no third launch.
extern "C" __global__ void __launch_bounds__(kThreads, 4) norm_list(Plan plan, Request request) {
    FASTCLIP_SHARED(Scratch, scratch);
    const bool drop = request.policy == Policy::zero;
    const u32 lanes = request.reads ? plan.lane_count : 0;
    for (u32 i = blockIdx.x; i < lanes; i += gridDim.x) {
        Total mine = {0.0, 0.0, 0, 0};
        const u32 end = plan.firsts[i + 1];
        for (u32 c = plan.firsts[i] + threadIdx.x / kWarp; c < end; c += kWarps)
            add_chunk(mine, plan, plan.chunks[c], drop);
        mine = block_total(mine, scratch);
        if (threadIdx.x == 0) plan.partials[i] = mine;
    }
    if (!is_last_block(plan.counters, gridDim.x, scratch)) return;
    Total all = {0.0, 0.0, 0, 0};
    for (u32 i = threadIdx.x; i < lanes; i += kThreads) merge(all, total_of_others(plan.partials + i));
    all = block_total(all, scratch);
    if (threadIdx.x != 0) return;
    atomicExch(plan.counters, 0u);
    const Verdict verdict = request.torch ? judge_as_torch(request, all) : judge(request, all, 0, request.round);
    *plan.verdicts = verdict;
    publish(request, verdict);
}

// The warp that ends a group's last chunk adds the partial sums of all its chunks, in their order.
extern "C" __global__ void __launch_bounds__(kThreads, 4) norm_each(Plan plan, Request request) {
    const u32 lane = threadIdx.x % kWarp, warps = gridDim.x * kWarps;
    for (u32 c = blockIdx.x * kWarps + threadIdx.x / kWarp; c < plan.chunk_count; c += warps) {
        const Chunk chunk = plan.chunks[c];
        Total mine = {0.0, 0.0, 0, 0};
        with_dtype(chunk.dtype, [&](auto tag) {
            constexpr int D = decltype(tag)::value;
            add_run<D>(mine, address(plan, chunk), chunk.count, lane, false);
            mine = total_of_lanes<D>(mine);
        });
        if (lane == 0) plan.partials[c] = mine;
        const u32 group = group_of(plan, chunk, c), first = plan.firsts[group], end = plan.firsts[group + 1];
        if (!is_last_warp(plan.counters + group, end - first)) continue;
        Total all = {0.0, 0.0, 0, 0};
        for (u32 i = first + lane; i < end; i += kWarp) merge(all, total_of_others(plan.partials + i));
        all = warp_total(all);
        if (lane != 0) continue;
        atomicExch(plan.counters + group, 0u);
        const Verdict verdict = judge(request, all, plan.counts[group], plan.rounds[group]);
        plan.verdicts[group] = verdict;
        if (request.norm) static_cast<double*>(request.norm)[group] = verdict.norm;
    }
}
