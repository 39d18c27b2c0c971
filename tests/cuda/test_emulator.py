# SPDX-License-Identifier: BSD-3-Clause
"""The emulator reports what a GPU would hang on, or answer with what happens to be in memory."""

import build
import numpy as np
import pytest

#: each thread of two clusters of two blocks writes 4 bytes of dynamic shared memory, and reads those of a neighbour
SOURCE = """
using namespace fastclip;
extern "C" __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(64, 1) pass(unsigned* out) {
    FASTCLIP_DYNAMIC_SHARED(memory);
    unsigned* mine = reinterpret_cast<unsigned*>(memory) + threadIdx.x;
    WRITE
    BEFORE
    const unsigned other = of_rank(reinterpret_cast<const unsigned*>(memory) + (threadIdx.x ^ 1), RANK);
    AFTER
    out[blockIdx.x * 64 + threadIdx.x] = other;
}
"""
RIGHT = {
    "WRITE": "*mine = blockIdx.x * 64 + threadIdx.x;",
    "BEFORE": "cluster_barrier();",
    "RANK": "1 - blockIdx.x % 2",
    "AFTER": "cluster_barrier();",
}


def result(seed=0, grid=4, shared=256, workers=1, **parts):
    """Launch the kernel with some of its parts replaced."""
    text = SOURCE
    for name, part in (RIGHT | parts).items():
        text = text.replace(name, part)
    out = np.zeros(grid * 64, np.uint32)
    pointer = np.asarray(np.uint64(out.ctypes.data))
    build.Module(text).launch("pass", grid, 64, [pointer], shared=shared, workers=workers, seed=seed)
    return out


@pytest.mark.parametrize(("seed", "workers"), [(0, 1), (1, 2), (2, 1), (3, 2)])
def test_blocks_of_a_cluster_read_each_other(seed, workers):
    block, thread = np.divmod(np.arange(256), 64)
    np.testing.assert_array_equal(result(seed, workers=workers), (block ^ 1) * 64 + (thread ^ 1))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"BEFORE": ""}, "pass: shared memory of a block that has not begun"),
        ({"AFTER": ""}, "pass: shared memory of a block that has ended"),
        ({"RANK": "2"}, "pass: shared memory of a block that the cluster has not"),
        ({"BEFORE": "if (threadIdx.x) cluster_barrier(); else __syncthreads();"}, "pass: deadlock in block .*: 1 "
         "threads at __syncthreads, 63 at the cluster's barrier, 0 in a warp collective, 0 exited"),
        ({"grid": 3}, "pass: the grid is no multiple of the cluster"),
        ({"shared": 227 * 1024 + 1}, "pass: more shared memory than a block can have"),
    ],
)  # fmt: skip
def test_what_would_hang_or_be_undefined_is_reported(seed, parts, message):
    with pytest.raises(RuntimeError, match=message):
        result(seed, **parts)


def test_dynamic_shared_memory_is_nan_before_a_block_writes_it():
    for _ in range(2):  # what the clusters before have left is not seen
        assert (result(WRITE="", AFTER="cluster_barrier(); *mine = 7;") == 0xFFFFFFFF).all()
