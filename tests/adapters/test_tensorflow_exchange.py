# SPDX-License-Identifier: BSD-3-Clause
"""How tensors are read and made: by TensorFlow's C functions or, where they are not, by capsules."""

import subprocess
import sys

import pytest
from tensorflowcases import CAPSULES, register

from fastclip.tensorflow import _c_functions
from fastclip.tensorflow._c_functions import c_functions


def test_another_tensorflow_has_other_functions(monkeypatch):
    """Capsules serve then."""
    assert c_functions("no_such_library.so") == []
    monkeypatch.setattr(_c_functions, "NAMES", (*_c_functions.NAMES[:-1], "TFE_OfAnotherVersion"))
    assert c_functions() == []
    with pytest.raises(ValueError, match="not all functions"):
        register(*CAPSULES, c_functions("") or [1])


@pytest.mark.parametrize("addresses", ["c_functions()", "[]"])
def test_an_operation_that_needs_python_is_waited_for_without_the_gil(addresses):
    """Where operations are executed by another thread, which would wait for this one."""
    script = f"""
import time
import fastclip.tensorflow
from fastclip.tensorflow import _tensors
from fastclip.tensorflow._c_functions import c_functions
import tensorflow as tf
_tensors.ADDRESSES = {addresses}
fastclip._core.register_eager_type(*_tensors.CAPSULES, _tensors.ADDRESSES)
tf.config.experimental.set_synchronous_execution(False)
def slow(x):
    time.sleep(0.2)
    return 2 * x
made = tf.py_function(slow, [tf.constant([3.0, 4.0])], tf.float32)
print(fastclip.tensorflow.clip_by_global_norm([made], 5.0)[0][0].numpy().tolist())
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert run.stdout == "[3.0, 4.0]\n", run.stderr


def test_results_lie_where_the_tensors_are():
    """On the second of two logical CPUs, as TensorFlow's would in its scope."""
    script = """
import tensorflow as tf
cpu, two = tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
import fastclip.tensorflow
with tf.device("CPU:1"):
    there = tf.constant([3.0, 4.0])
(a, b), norm = fastclip.tensorflow.clip_by_global_norm([there, tf.constant([12.0])], 1.0)
print([t.device[-5:] for t in (there, a, norm, b)], round(float(tf.norm(a)), 6))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert run.stdout.split("\n")[0] == "['CPU:1', 'CPU:1', 'CPU:1', 'CPU:0'] 0.384615", run.stderr


@pytest.mark.parametrize("addresses", ["c_functions()", "[]"])
def test_the_interpreter_ends_while_daemon_threads_are_inside(addresses):
    """With tensors of any size, since reading one lets go of the GIL; and with what nothing but the call refers to."""
    script = f"""
import threading, time
import fastclip
import fastclip.tensorflow as ours
from fastclip.tensorflow import _tensors
from fastclip.tensorflow._c_functions import c_functions
import tensorflow as tf
fastclip._core.register_eager_type(*_tensors.CAPSULES, {addresses})
tensors = [tf.ones([10]), tf.ones([2000000])]
def forever(call):
    while True:
        call()
for call in (
    lambda: ours.clip_by_global_norm(tensors[:1], 0.1),
    lambda: ours.clip_by_global_norm(tensors, 0.1),
    lambda: ours.clip_by_norm(tensors[0], 0.1),
    lambda: ours.clip_by_value(tensors[1], -0.1, 0.1),
):
    threading.Thread(target=forever, args=[call], daemon=True).start()
time.sleep(0.3)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
