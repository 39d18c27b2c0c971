# SPDX-License-Identifier: BSD-3-Clause
import dataclasses

import numpy as np
import pytest
from benchmarks.bars import Bar, bars

from fastclip._bench.cases import WORKLOADS, dtype_of
from fastclip._bench.contestants import OPERATIONS
from fastclip._bench.limit import PASSES
from fastclip._bench.peers import PEERS

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
    "vit_b16": (152, 346_270_624),  # 86,567,656 parameters
    "lstm_lm": (11, 79_121_600),  # 19,780,400 parameters
    "resnet50_f64": (161, 2 * 102_228_128),
    "gpt2_f16": (148, 248_879_616),
    "gpt2_bf16": (148, 248_879_616),
    "rows64mb": (1, 64 << 20),
    "mnist_examples": (4, 64 * 203_530 * 4),  # as many as a network of 784, 256 and 10 has weights, 64 times
    "clip_scalar": (1, 4),
    "clip_1": (1, 4),
    "clip_10": (1, 40),
    "clip_100": (1, 400),
    "clip_1000": (1, 4000),
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
        assert not workload.operations or any(bars(workload, operation) for operation in workload.operations)
        assert workload.operations or workload.besides


def test_every_operation_is_known_and_held_against_what_takes_part():
    assert {operation for workload in WORKLOADS.values() for operation in workload.timed} == set(OPERATIONS)
    for workload in WORKLOADS.values():
        for name in workload.timed:
            assert set(OPERATIONS[name].passes) <= set(PASSES)
            assert PEERS["fastclip"].takes(name, workload.dtype)
        for name in workload.operations:
            for bar in bars(workload, name):
                passes = OPERATIONS[name].passes
                assert passes if bar.against == "limit" else PEERS[bar.against].takes(name, workload.dtype)


@pytest.mark.parametrize(
    ("workload", "operation", "bar"),
    [
        ("gpt2_f16", "within", Bar("limit", 1.10)),
        ("gpt2_bf16", "clip", Bar("limit", 1.15)),
        ("gpt2", "clip", Bar("limit", 1.05)),
        ("one64mb", "clip_out", Bar("limit", 1.05)),
        ("one64mb", "clip_new", Bar("limit", 1.15)),
        ("resnet50", "clip_new", Bar("limit", 1.15)),
        ("rows64mb", "rows", Bar("limit", 1.10)),
        ("clip_1", "positional", Bar("numpy", 1 / 5)),
        ("clip_1000", "keywords", Bar("numpy", 1 / 3)),
    ],
)
def test_bars_of_later_operations(workload, operation, bar):
    assert bars(WORKLOADS[workload], operation) == (bar,)


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_half_width_arrays_are_the_rounded_f32_ones(dtype):
    wide = WORKLOADS["rl_policy"]
    workload = dataclasses.replace(wide, dtype=dtype)
    arrays = workload.arrays()
    assert workload.nbytes == sum(array.nbytes for array in arrays) == wide.nbytes // 2
    for array, rounded in zip(arrays, wide.arrays(), strict=True):
        assert array.dtype == dtype_of(workload.dtype)
        assert array.tobytes() == rounded.astype(array.dtype).tobytes()
