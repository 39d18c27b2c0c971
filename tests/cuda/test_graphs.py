# SPDX-License-Identifier: BSD-3-Clause
"""While a CUDA graph is captured nothing runs: what may be launched then, and what is kept for the graph."""

import threading

import numpy as np
import pytest
from dtypes import F32

import fastclip
import fastclip.cuda
from fastclip._backends.cuda import plan as plans


@pytest.fixture
def gpu(cp):
    cp.cuda.stream.ptr = 9001
    return cp


def argument(cp, monkeypatch):
    """The addresses of the tables that launches are given from here on."""
    seen = []
    launch = plans.Plan._launch
    monkeypatch.setattr(
        plans.Plan, "_launch", lambda p, *args: (seen.append(int(p._argument["partials"])), launch(p, *args))[1]
    )
    return seen


def test_arrays_that_come_for_the_first_time_cannot_be_captured(gpu):
    a, other = gpu.asarray(np.full(4, 2.0, F32)), gpu.asarray(np.full(4, 2.0, F32))
    gpu.cuda.stream.capturing = True
    with pytest.raises(RuntimeError, match="same arrays on that stream once before the capture begins"):
        fastclip.clip_by_global_norm_([a], 1.0)
    gpu.cuda.stream.capturing = False
    assert float(fastclip.clip_by_global_norm_([a], 9.0)) == 4.0
    gpu.cuda.stream.capturing = True  # the table of addresses would be that of `a`, or of whoever comes next
    with pytest.raises(RuntimeError, match="others came since"):
        fastclip.clip_by_global_norm_([other], 1.0)
    gpu.cuda.stream.capturing = False
    assert float(fastclip.clip_by_global_norm_([other], 9.0)) == 4.0
    assert (a.get() == 2.0).all()


def test_what_is_captured_is_left_to_the_graph(gpu, monkeypatch):
    seen = argument(gpu, monkeypatch)
    a, other = gpu.asarray(np.full(5, 2.0, F32)), gpu.asarray(np.full(5, 3.0, F32))
    out = gpu.asarray(np.zeros(()))
    fastclip.clip_by_global_norm_([a], 99.0, out=out)
    fastclip.clip_by_global_norm_([other], 99.0, out=out)
    fastclip.clip_by_global_norm_([a], 99.0, out=out)
    before = gpu.cuda.allocations, gpu.cuda.uploads
    gpu.cuda.stream.capturing = True
    for _ in range(2):  # one graph may have two such calls
        fastclip.clip_by_global_norm_([a], 99.0, out=out)
    gpu.cuda.stream.capturing = False
    assert (gpu.cuda.allocations, gpu.cuda.uploads) == before
    assert len(set(seen)) == 1
    captured = seen[0]
    for list_ in ([a], [other]):
        fastclip.clip_by_global_norm_(list_, 99.0, out=out)
        assert seen[-1] != captured
    plans._plans.clear()
    assert any(int(p._argument["partials"]) == captured for p in plans._in_graphs)


def test_the_default_streams_of_threads_share_no_plan(gpu, monkeypatch):
    gpu.cuda.stream.ptr = 2  # CUDA's handle of each thread's own
    seen = argument(gpu, monkeypatch)
    a = gpu.asarray(np.ones(6, F32))
    for _ in range(2):
        fastclip.global_norm([a])
        thread = threading.Thread(target=fastclip.global_norm, args=([a],))
        thread.start()
        thread.join()
    assert len(seen) == 4
    assert seen[0] == seen[2]
    assert seen[0] not in (seen[1], seen[3])
