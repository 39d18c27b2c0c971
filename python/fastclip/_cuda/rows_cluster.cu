// SPDX-License-Identifier: BSD-3-Clause
// Rows that fit into the shared memory of eight blocks that are a cluster, the most that every chip from sm_90 on
// takes. A module of its own: chips before them have no such instructions.
#include "rows.cuh"

using namespace fastclip;

extern "C" __global__ void __cluster_dims__(8, 1, 1) __launch_bounds__(1024, 1)
    rows_cluster(Rows rows, Request request) {
    FASTCLIP_DYNAMIC_SHARED(memory);
    clip_kept_rows<8>(rows, request, memory);
}
