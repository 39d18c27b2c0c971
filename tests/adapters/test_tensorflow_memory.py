# SPDX-License-Identifier: BSD-3-Clause
"""Memory behind eager tensors: who reads it, whose the results' is, and when it goes."""

import ctypes
import gc
import sys
import threading

import numpy as np
import pytest
import tensorflow as tf
from tensorflowcases import (
    BF16,
    CAPSULES,
    DTYPES,
    EACH_CALL,
    F32,
    NAMES,
    address,
    bits,
    mine,
    register,
    served,
    tensors,
    theirs,
)

import fastclip
import fastclip.tensorflow as ours
from fastclip.tensorflow import _tensors
from fastclip.tensorflow._c_functions import c_functions

pytestmark = pytest.mark.usefixtures("exchange")
LARGE = 1 << 22  # elements: 16 MB of f32, for which the GIL is released and blocks are recycled


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_results_are_aligned_as_tensorflow_demands(dtype):
    """It aborts the process at the first use of memory that is not at a multiple of 64."""
    clipped, norm = ours.clip_by_global_norm(tensors([dtype], shapes=[(n,) for n in range(40)]), 1e-3)
    for tensor in [*clipped, norm, ours.clip_by_value(tensors([dtype])[2], -0.1, 0.1)]:
        assert address(tensor) % 64 == 0
        assert (tensor + tensor).dtype == dtype


@EACH_CALL
def test_the_inputs_are_never_written(name):
    t = tensors(scale=100.0, shapes=[(40, 30)])[0]
    before = t.numpy()
    result = mine(name, t)
    assert bits([t]) == bits([tf.constant(before)])
    assert address(result) != address(t)


def test_results_are_tensors_like_any_other():
    (clipped,), _ = ours.clip_by_global_norm([tf.constant([[3.0, 4.0]])], 1.0)
    assert type(clipped) is type(tf.constant(1.0))
    assert clipped.device == tf.constant(1.0).device
    assert clipped.shape == (1, 2)
    variable = tf.Variable(tf.zeros([1, 2]))
    variable.assign_sub(clipped)
    variable.assign_add(clipped * 2)
    np.testing.assert_allclose(variable.numpy(), clipped.numpy())
    with tf.GradientTape() as tape:
        tape.watch(clipped)
        loss = tf.reduce_sum(clipped**2)
    np.testing.assert_allclose(tape.gradient(loss, clipped).numpy(), 2 * clipped.numpy())
    assert tf.function(tf.reduce_sum)(clipped).numpy() == pytest.approx(1.4)


def test_a_variable_that_changes_later_changes_no_result():
    variable = tf.Variable([3.0, 4.0])
    within, clipped = ours.clip_by_norm(variable, 9.0), ours.clip_by_norm(variable, 2.5)
    variable.assign_add([1.0, 1.0])
    variable.scatter_nd_update([[0]], [9.0])
    assert within.numpy().tolist() == [3.0, 4.0]
    assert clipped.numpy().tolist() == [1.5, 2.0]


def test_an_array_that_changes_later_changes_no_result():
    array = np.full(4096, 0.5, np.float32)
    within, rows = ours.clip_by_norm(array, 1e9), ours.clip_by_norm(array, 1e9, axes=[0])
    array[:] = 7.0
    assert set(within.numpy()) == set(rows.numpy()) == {0.5}


def test_large_results_are_recycled_when_their_last_user_has_gone():
    t = tf.ones([LARGE])
    first = ours.clip_by_norm(t, 1.0)
    where, kept = address(first), fastclip.show_config()["recycling"]["kept"]
    view = tf.reshape(first, [2, -1])  # shares the memory
    del first
    assert fastclip.show_config()["recycling"]["kept"] == kept
    assert address(ours.clip_by_norm(t, 1.0)) != where
    del view
    assert fastclip.show_config()["recycling"]["kept"] > kept
    again = [ours.clip_by_norm(t, 1.0) for _ in range(2)]
    assert where in map(address, again)


def test_the_memory_lasts_as_long_as_a_variable_or_an_array_uses_it():
    clipped = ours.clip_by_norm(tf.ones([LARGE]), 2.0**11)
    array, variable = np.asarray(clipped), tf.Variable(clipped)
    total = float(clipped[0])
    del clipped
    others = [ours.clip_by_norm(tf.ones([LARGE]), 1.0) for _ in range(3)]
    assert float(variable[-1]) == float(array[-1]) == total != float(others[0][0])


def test_nothing_leaks():
    small = tensors(shapes=[(9,)] * 50)
    counted = [None, small[0]]
    gc.collect()
    none, references = sys.getrefcount(None), [sys.getrefcount(x) for x in small]
    for _ in range(500):
        ours.clip_by_global_norm(small, 1e-3)
        ours.clip_by_global_norm(counted, 1e9)
        ours.clip_by_value(small[0], -0.1, 0.1)
        ours.global_norm(small)
    gc.collect()
    # None's count moves with whatever Python does beside; 500 calls that keep or lose one would show
    assert [sys.getrefcount(x) for x in small] == references
    assert abs(sys.getrefcount(None) - none) < 250


def test_threads():
    """Each call has its own list; large ones let others run meanwhile."""
    large, small = [tf.ones([LARGE]), tf.ones([3])], tensors()
    wanted = [bits(ours.clip_by_global_norm(given, 0.5)[0][1:3]) for given in (large, small)]
    wrong = []

    def work(given, want):
        for _ in range(6):
            if bits(ours.clip_by_global_norm(given, 0.5)[0][1:3]) != want:
                wrong.append(given)

    threads = [threading.Thread(target=work, args=pair) for pair in [*zip((large, small), wanted, strict=True)] * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("limit", [1e9, 0.5], ids=["within", "clipping"])
def test_a_list_that_another_thread_changes_meanwhile(limit):
    """The answer is to the list as it was when the call began."""
    t = tf.ones([LARGE])
    given = [t]
    stop = threading.Event()

    def change():
        while not stop.is_set():  # Python changes threads where a loop turns
            given[:] = [t] * (3 - len(given))

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(40):
            results, norm = ours.clip_by_global_norm(given, limit)
            assert float(norm) == pytest.approx((len(results) * LARGE) ** 0.5, rel=1e-6)
    finally:
        stop.set()
        thread.join()


def test_a_result_may_go_on_a_thread_of_tensorflows():
    """Without the GIL: its memory is nobody's Python."""
    t = tf.ones([LARGE])
    queue = tf.queue.FIFOQueue(4, [F32])
    for _ in range(8):
        queue.enqueue(ours.clip_by_norm(t, 1.0))
        queue.dequeue()
    dataset = tf.data.Dataset.from_tensors(ours.clip_by_norm(t, 1.0)).repeat(3).map(tf.reduce_sum).prefetch(2)
    assert [float(x) for x in dataset] == pytest.approx([2.0**11] * 3, rel=1e-4)


def test_what_the_native_verbs_do_not_take():
    """Strings and resources, of which TensorFlow makes no capsule but an end of the process, among them."""
    context = _tensors.context()
    for value in (tf.constant(["a"]), tf.Variable(1.0).handle, tf.constant(1), tf.constant(1j), 1.0, np.ones(2), None):
        for call in (
            lambda v: fastclip._core.eager_norm([v], context),
            lambda v: fastclip._core.eager_clip([v], None, 1.0, context),
            lambda v: fastclip._core.eager_clip([tf.ones(1)], [v], 1.0, context) if v is not None else NotImplemented,
            lambda v: fastclip._core.eager_scale([v], 1.0, 2, 1.0, context),
            lambda v: fastclip._core.eager_clip_one(v, None, 1.0, False, context),
            lambda v: fastclip._core.eager_clamp(v, 0.0, 1.0, context),
        ):
            assert call(value) is NotImplemented
    for items in ({}, "ab", iter([]), tf.ones(2), None):
        assert fastclip._core.eager_norm(items, context) is NotImplemented


def test_a_tensor_that_can_not_be_made_frees_all_results():
    made = []
    number, to_capsule, from_capsule = CAPSULES

    def fail_at_the_second(capsule, context):
        if made:
            raise MemoryError("no more")
        made.append(from_capsule(capsule, context))
        return made[0]

    given = [tf.ones([LARGE])] * 3
    fastclip.set_recycling(0)
    fastclip.set_recycling(1 << 30)
    register(number, to_capsule, fail_at_the_second, [])
    with pytest.raises(MemoryError, match="no more"):
        fastclip._core.eager_scale(given, 9.0, 2, 1.0, _tensors.context())
    assert len(made) == 1
    assert fastclip.show_config()["recycling"]["kept"] >= 2 * 4 * LARGE
    made.clear()
    assert fastclip.show_config()["recycling"]["kept"] >= 3 * 4 * LARGE


def test_a_handle_that_can_not_be_made_frees_all_results():
    class Named:  # a capsule of another kind
        capsule = ctypes.pythonapi.PyCapsule_New
        capsule.restype, capsule.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        made = capsule(1, b"other", None)

    fastclip.set_recycling(0)
    fastclip.set_recycling(1 << 30)
    register(*CAPSULES, c_functions())
    with pytest.raises(ValueError, match="incorrect name"):
        fastclip._core.eager_scale([tf.ones([LARGE])] * 3, 9.0, 2, 1.0, Named.made)
    assert fastclip.show_config()["recycling"]["kept"] >= 3 * 4 * LARGE


def test_without_native_code_tensorflow_does_it_all(monkeypatch):
    monkeypatch.setattr(_tensors, "NATIVE", False)
    before = served()
    t = tf.cast(tensors(shapes=[(5, 4)])[0], F32)
    for name in NAMES:
        assert bits([mine(name, t)]) == bits([theirs(name, t)])
    assert served() == before
    assert np.isinf(ours.global_norm([tf.constant([3e20])]).numpy())


def test_a_bfloat16_result_by_rows():
    t = tf.cast(tf.constant([[3.0, 4.0], [0.3, 0.4]]), BF16)
    assert ours.clip_by_norm(t, 2.5, axes=[1]).numpy().tolist() == [[1.5, 2.0], t.numpy()[1].tolist()]
