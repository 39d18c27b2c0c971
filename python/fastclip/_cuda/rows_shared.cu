// SPDX-License-Identifier: BSD-3-Clause
// Rows of more than 16 KB that fit into the shared memory of a block: each is read once, and written if it is clipped.
#include "rows.cuh"

using namespace fastclip;

extern "C" __global__ void __launch_bounds__(1024, 1) rows_shared(Rows rows, Request request) {
    FASTCLIP_DYNAMIC_SHARED(memory);
    clip_kept_rows<1>(rows, request, memory);
}
