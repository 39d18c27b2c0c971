# SPDX-License-Identifier: BSD-3-Clause
"""Results: aligned, owned like NumPy's own, made of memory that was used before, within bounds."""

import multiprocessing
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import fastclip

pytestmark = pytest.mark.skipif(fastclip.show_config()["backend"] != "native", reason="NumPy allocates")
MB = 1 << 20


@pytest.fixture(autouse=True)
def _limit():
    before = fastclip.show_config()["recycling"]["limit"]
    fastclip.set_recycling(0)  # gives back what other tests left
    fastclip.set_recycling(64 * MB)
    yield
    fastclip.set_recycling(before)


def kept():
    return fastclip.show_config()["recycling"]["kept"]


def clipped(mb, dtype=np.float32):
    return fastclip.clip_by_value(np.ones(mb * MB // np.dtype(dtype).itemsize, dtype), -0.5, 0.5)


@pytest.mark.parametrize("n", [0, 1, 7, 100, 5000, 16_384, 20_000, 2_000_000])
def test_results_are_aligned_and_their_own(n):
    for shape in ((n,), (1, n)):
        x = np.ones(shape, np.float32)
        (results, _), single = fastclip.clip_by_global_norm([x, x], 0.5), fastclip.clip_by_norm(x, 0.5)
        for r in (*results, single, fastclip.clip_by_norm(x, 0.5, axes=0), fastclip.clip(x, 0, 0.5)):
            assert r.ctypes.data % 64 == 0
            assert r.flags.owndata
            assert r.base is None


def test_memory_comes_back():
    first = clipped(8)
    address = first.ctypes.data
    del first
    assert kept() >= 8 * MB
    second = clipped(8)
    assert second.ctypes.data == address
    assert kept() == 0
    third = clipped(8)  # the block is in use
    assert third.ctypes.data != address
    assert (second == 0.5).all()
    assert (third == 0.5).all()


def test_a_block_is_not_wasted_on_a_much_smaller_result():
    big = clipped(16)
    address = big.ctypes.data
    del big
    assert clipped(8).ctypes.data != address
    assert clipped(15).ctypes.data == address


def test_no_more_is_kept_than_the_limit():
    results = [clipped(10) for _ in range(12)]
    results.clear()
    assert 50 * MB <= kept() <= 64 * MB
    fastclip.set_recycling(25 * MB)
    assert 20 * MB <= kept() <= 25 * MB
    fastclip.set_recycling(0)
    assert kept() == 0
    clipped(10)
    assert kept() == 0


def test_a_result_larger_than_the_limit_is_not_kept():
    fastclip.set_recycling(4 * MB)
    clipped(8)
    assert kept() == 0


def test_what_nobody_wants_goes_back(tmp_path):
    program = (
        "import time, numpy as np, fastclip\n"
        "x = np.ones(4_000_000, np.float32); fastclip.clip_by_value(x, 0, 0.5)\n"
        "assert fastclip.show_config()['recycling']['kept'] >= 16_000_000\n"
        "time.sleep(5.2); assert fastclip.show_config()['recycling']['kept'] == 0\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_resize_and_views_work_as_on_any_array():
    r = clipped(1)
    view = r[:10]
    with pytest.raises(ValueError, match="resize"):
        r.resize(10)
    del view
    r.resize(10, refcheck=False)
    assert r.tolist() == [0.5] * 10
    r.resize(200_000, refcheck=False)
    assert r[:11].tolist() == [0.5] * 10 + [0.0]


def test_results_outlive_what_made_them():
    x = np.full(3 * MB, 2.0)
    r = fastclip.clip_by_value(x, 0.0, 1.0)
    x[:] = 7.0
    del x
    assert (r == 1.0).all()


def test_many_threads():
    wrong = []

    def work(seed):
        rng = np.random.default_rng(seed)
        alive = []
        for i in range(60):
            n = int(rng.integers(20_000, 300_000))
            r = fastclip.clip_by_value(np.full(n, seed + 2.0, np.float32), 0.0, seed + 1.0)
            alive.append((r, seed + 1.0))
            if i % 3 == 2:
                alive.pop(int(rng.integers(len(alive))))
            wrong.extend(1 for a, value in alive if a[0] != value or a[-1] != value)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_recycles_for_itself():
    clipped(8)
    held = clipped(4)
    context = multiprocessing.get_context("fork")
    stop = threading.Event()

    def churn():
        while not stop.is_set():
            clipped(1)

    thread = threading.Thread(target=churn)  # a fork may find the store locked
    thread.start()
    try:
        for _ in range(20):
            child = context.Process(target=_child, args=(held,))
            child.start()
            child.join(20)
            assert child.exitcode == 0
    finally:
        stop.set()
        thread.join()
    assert (held == 0.5).all()


def _child(held):
    held[:] = 3.0
    for _ in range(3):
        assert (clipped(8) == 0.5).all()
    assert kept() > 0


def test_bad_limits():
    for bad in (-1, np.int64(-5)):
        with pytest.raises(ValueError, match="set_recycling: max_bytes=-"):
            fastclip.set_recycling(bad)
    for bad in (1.5, "1", None, True):
        with pytest.raises(TypeError, match=r"set_recycling: max_bytes is .*; expected an integer >= 0"):
            fastclip.set_recycling(bad)


@pytest.mark.parametrize("text", ["-1", "many", "1.5"])
def test_the_environment_is_checked(text):
    run = subprocess.run(
        [sys.executable, "-c", "import fastclip"],
        env={**os.environ, "FASTCLIP_RECYCLING": text},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert f"FASTCLIP_RECYCLING={text}; expected a number of bytes" in run.stderr


def test_the_environment_decides():
    program = "import fastclip; print(fastclip.show_config()['recycling']['limit'])"
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "FASTCLIP_RECYCLING": "12345"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == "12345\n"
