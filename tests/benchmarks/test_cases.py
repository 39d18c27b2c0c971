# SPDX-License-Identifier: BSD-3-Clause
import numpy as np
import pytest
from benchmarks.bars import OPERATIONS, bars
from benchmarks.cases import WORKLOADS

SIZES = {
    "tiny_many": (100, 50 * (64 * 64 + 64) * 4),
    "rl_policy": (12, 40_464),
    "thousand_tens": (1000, 40_000),
    "cache_1mb": (4, 1 << 20),
    "cache_4mb": (4, 4 << 20),
    "cache_16mb": (4, 16 << 20),
    "one64mb": (1, 64 << 20),
    "resnet50": (161, 102_228_128),  # torchvision's 25,557,032 parameters
    "gpt2": (148, 497_759_232),  # 124,439,808 parameters
}


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_has_its_count_and_bytes(name):
    workload = WORKLOADS[name]
    assert (len(workload.shapes), workload.nbytes) == SIZES[name]


def test_every_size_is_asserted():
    assert set(SIZES) == set(WORKLOADS)


def test_arrays_have_the_shapes_and_repeat_with_the_seed():
    workload = WORKLOADS["rl_policy"]
    arrays = workload.arrays(seed=3)
    assert tuple(array.shape for array in arrays) == workload.shapes
    assert all(array.dtype == np.float32 and array.flags.c_contiguous for array in arrays)
    assert sum(array.nbytes for array in arrays) == workload.nbytes
    again, other = workload.arrays(seed=3), workload.arrays(seed=4)
    assert [a.tobytes() for a in arrays] == [a.tobytes() for a in again]
    assert [a.tobytes() for a in arrays] != [a.tobytes() for a in other]


def test_every_workload_has_a_bar():
    for workload in WORKLOADS.values():
        assert any(bars(workload, operation) for operation in OPERATIONS)
