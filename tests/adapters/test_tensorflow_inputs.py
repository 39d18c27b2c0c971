# SPDX-License-Identifier: BSD-3-Clause
"""What fastclip.tensorflow is given: kinds of tensors, slices, tapes and graphs; and what TensorFlow has to do."""

import warnings

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.util import dispatch
from tensorflowcases import EACH_CALL, F32, F64, STOCK, mine, served, tensors, theirs

import fastclip.tensorflow as ours

pytestmark = pytest.mark.usefixtures("exchange")


def outcome(call, name, t):
    """What a call returns, or the kind of its error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of slices that become dense
        try:
            result = call(name, t)
        except Exception as error:
            return type(error)
    if isinstance(result, tf.IndexedSlices):
        return np.asarray(result.values), np.asarray(result.indices).tolist(), result.dense_shape
    if isinstance(result, tf.RaggedTensor):
        return result.flat_values.numpy(), result.row_splits.numpy().tolist()
    return (None if result is None else np.asarray(result)), type(result)


def check_same(found, wanted):
    assert isinstance(found, type) == isinstance(wanted, type), (found, wanted)
    if isinstance(found, type):
        assert found is wanted
        return
    assert found[1:] == wanted[1:]
    if wanted[0] is None:
        assert found[0] is None
        return
    np.testing.assert_allclose(found[0], wanted[0], rtol=20 * 2.0**-24)


SLICES = tf.IndexedSlices(tf.constant([[3.0, 4.0], [0.5, 0.1]]), tf.constant([4, 1]), tf.constant([5, 2]))
KINDS = {
    "variable": lambda: tf.Variable([3.0, 4.0]),
    "array": lambda: np.array([3.0, 4.0], np.float32),
    "array of doubles": lambda: np.array([3.0, 4.0]),
    "number": lambda: 3.0,
    "numbers": lambda: [3.0, 4.0],
    "slices": lambda: SLICES,
    "slices of arrays": lambda: tf.IndexedSlices(np.array([[3.0, 4.0]], np.float32), np.array([1])),
    "integers": lambda: tf.constant([3, 4]),
    "booleans": lambda: tf.constant([True]),
    "complex": lambda: tf.constant([3.0 + 4.0j]),
    "strings": lambda: tf.constant(["a"]),
    "ragged": lambda: tf.ragged.constant([[3.0], [4.0, 5.0]]),
    "sparse": lambda: tf.sparse.from_dense([3.0, 0.0]),
    "empty": lambda: tf.zeros([0, 3]),
    "none": lambda: None,
    "object": object,
}


@EACH_CALL
@pytest.mark.parametrize("kind", KINDS)
def test_everything_that_tensorflow_takes_or_refuses(name, kind):
    t = KINDS[kind]()
    found, wanted = outcome(mine, name, t), outcome(theirs, name, t)
    if (name, kind) == ("clip_by_average_norm", "array of doubles"):  # TensorFlow takes float32 alone
        assert wanted is tf.errors.InvalidArgumentError
        assert found[0].tolist() == pytest.approx([3.0 * 0.1 / 5, 4.0 * 0.1 / 5])
    else:
        check_same(found, wanted)


@pytest.mark.parametrize("kind", ["variable", "array", "numbers", "slices", "empty"])
@EACH_CALL
def test_these_are_fastclips_business(name, kind):
    before = served()
    mine(name, KINDS[kind]())
    assert served() == before + 1


@pytest.mark.parametrize(
    "t_list", [(), [], [None], "ab", {"a": tf.ones(1)}, tf.ones(2), np.ones(2), iter([])], ids=type
)
@pytest.mark.parametrize("name", ["global_norm", "clip_by_global_norm"])
def test_lists_that_tensorflow_takes_or_refuses(name, t_list):
    arguments = (t_list,) if name == "global_norm" else (t_list, 1.0)
    results = []
    for function in (getattr(ours, name), STOCK[name]):
        try:
            results.append(str(function(*arguments)))
        except Exception as error:
            results.append((type(error), str(error)))
    assert results[0] == results[1]


def test_lists_of_tensorflows_own():
    module = tf.Module()
    module.gradients = [tf.constant([3.0]), None, tf.constant([4.0])]
    assert type(module.gradients) is not list
    assert float(ours.global_norm(module.gradients)) == 5.0
    clipped, _ = ours.clip_by_global_norm(module.gradients, 2.5)
    assert type(clipped) is list
    assert [None if t is None else t.numpy().tolist() for t in clipped] == [[1.5], None, [2.0]]


def test_several_dtypes_which_tensorflow_refuses():
    t_list = [tf.constant([3.0]), tf.constant([4.0], F64)]
    with pytest.raises(tf.errors.InvalidArgumentError):
        STOCK["global_norm"](t_list)
    clipped, norm = ours.clip_by_global_norm(t_list, 2.5)
    assert (norm.dtype, float(norm)) == (F64, 5.0)
    assert [(t.dtype, t.numpy().tolist()) for t in clipped] == [(F32, [1.5]), (F64, [2.0])]


# ---- limits and norms that are TensorFlow's business


@pytest.mark.parametrize("limit", [tf.constant([1.0, 2.0]), tf.constant(1.0, F64), tf.constant(1), "1", None, 2**5000])
def test_limits_that_tensorflow_takes_or_refuses(limit):
    for name in ("clip_by_norm", "clip_by_global_norm"):
        results = []
        for function in (getattr(ours, name), STOCK[name]):
            t = tf.constant([3.0, 4.0])
            try:
                result = function([t], limit)[0][0] if "global" in name else function(t, limit)
                results.append(np.asarray(result).round(6).tolist())
            except Exception as error:
                results.append(type(error))
        assert results[0] == results[1], name


@pytest.mark.parametrize("use_norm", [5.0, np.float32(5.0), tf.constant(5.0), tf.constant(-2.0), tf.constant([5.0])])
def test_norms_that_are_given(use_norm):
    results = []
    for function in (ours.clip_by_global_norm, STOCK["clip_by_global_norm"]):
        try:
            clipped, norm = function([tf.constant([3.0, 4.0])], 1.0, use_norm)
            assert norm is use_norm
            results.append(clipped[0].numpy().tolist())
        except Exception as error:
            results.append((type(error), str(error)))
    assert results[0] == results[1]


@pytest.mark.parametrize("axes", [2, -3, [0, 0], [0, -2], 0.5, "x"])
def test_axes_that_tensorflow_refuses(axes):
    t = tf.ones((2, 3))
    errors = []
    for function in (ours.clip_by_norm, STOCK["clip_by_norm"]):
        with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it is there
            function(t, 1.0, axes)
        errors.append((caught.type, str(caught.value)))
    assert errors[0] == errors[1]


def test_more_dimensions_than_numpy_has():
    for rank in (32, 33, 65, 254):
        clipped = ours.clip_by_norm(tf.fill([1] * rank, 3.0), 1.5, axes=[0, -1])
        assert clipped.shape.rank == rank
        assert float(tf.reshape(clipped, [])) == 1.5


@EACH_CALL
def test_somebodys_dispatcher_is_asked(monkeypatch, name):
    """What TensorFlow can't make a tensor of may be an argument of somebody's; fastclip leaves it to TensorFlow."""

    class Other:
        pass

    class Dispatcher(dispatch.GlobalOpDispatcher):
        def handle(self, op, args, kwargs):
            found = any(isinstance(x, Other) for x in tf.nest.flatten(args))
            return [["dispatched"]] if found and getattr(op, "__name__", "") == name else self.NOT_SUPPORTED

    monkeypatch.setattr(dispatch, "_GLOBAL_DISPATCHERS", [Dispatcher()])
    assert mine(name, Other()) == theirs(name, Other())


# ---- slices with one row twice, of which TensorFlow counts each for itself


def repeated():
    return tf.IndexedSlices(tf.constant([[3.0], [4.0], [1.0]]), tf.constant([2, 2, 0]), tf.constant([5, 1]))


def dense(t):
    return tf.convert_to_tensor(t).numpy().ravel().tolist()


@pytest.mark.filterwarnings("ignore:Converting sparse IndexedSlices")
def test_rows_that_are_listed_twice_count_as_their_sum():
    true = 50.0**0.5
    assert float(STOCK["global_norm"]([repeated()])) == pytest.approx(26.0**0.5)
    assert float(ours.global_norm([repeated()])) == pytest.approx(true)
    clipped, norm = ours.clip_by_global_norm([repeated(), None], 1.0)
    assert float(norm) == pytest.approx(true)
    assert clipped[0].indices.numpy().tolist() == [2, 2, 0]
    assert np.linalg.norm(dense(STOCK["clip_by_global_norm"]([repeated()], 1.0)[0][0])) > 1.3
    for result in (clipped[0], ours.clip_by_norm(repeated(), 1.0)):
        np.testing.assert_allclose(dense(result), np.array([1.0, 0.0, 7.0, 0.0, 0.0]) / true, rtol=1e-6)
    assert dense(STOCK["clip_by_value"](repeated(), -3.5, 3.5))[2] == 6.5
    assert dense(ours.clip_by_value(repeated(), -3.5, 3.5)) == [1.0, 0.0, 3.5, 0.0, 0.0]
    within = repeated()
    assert ours.clip_by_global_norm([within], 1e9)[0][0] is within
    assert ours.clip_by_norm(within, 1e9) is within


@pytest.mark.parametrize("indices", [[0, 0], [[0, 0], [1, 1]]])
def test_slices_that_no_gradient_has(indices):
    """Fewer indices than rows, or of two dimensions: whatever they mean, TensorFlow takes the values' norm."""
    slices = tf.IndexedSlices(tf.constant([[3.0], [4.0], [12.0]]), tf.constant(indices))
    for name in ("clip_by_norm", "clip_by_value"):
        np.testing.assert_allclose(mine(name, slices).values, theirs(name, slices).values, rtol=1e-6)
    assert float(ours.global_norm([slices])) == 13.0


def test_an_embeddings_gradient_is_clipped_as_the_dense_one_is():
    table = tf.Variable(tensors(shapes=[(7, 3)])[0])
    for indices in ([1, 4], [1, 4, 4, 1, 1]):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.gather(table, indices) ** 2)
        gradient = tape.gradient(loss, table)
        assert isinstance(gradient, tf.IndexedSlices)
        (sparse,), norm = ours.clip_by_global_norm([gradient], 0.5)
        (whole,), their_norm = STOCK["clip_by_global_norm"]([tf.convert_to_tensor(gradient)], 0.5)
        np.testing.assert_allclose(float(norm), float(their_norm), rtol=1e-6)
        np.testing.assert_allclose(tf.convert_to_tensor(sparse).numpy(), whole.numpy(), rtol=1e-5, atol=1e-8)


# ---- integers


@pytest.mark.parametrize(("dtype", "lo", "hi", "there"), [
    (tf.uint8, -1, 100, [255, 255]),
    (tf.int8, -100, 300, [1, 44]),
    (tf.int32, -(2**40), 100, None),
    (tf.int64, 0, 2**70, ValueError),
])  # fmt: skip
def test_bounds_that_an_integer_dtype_can_not_hold(dtype, lo, hi, there):
    t = tf.constant([1, 120], dtype)
    if there is ValueError:
        with pytest.raises(ValueError, match="out-of-range"):
            STOCK["clip_by_value"](t, lo, hi)
    elif there is not None:
        assert STOCK["clip_by_value"](t, lo, hi).numpy().tolist() == there
    assert ours.clip_by_value(t, lo, hi).numpy().tolist() == [1, min(120, hi)]
    assert ours.clip_by_value(np.array([1, 120], dtype.as_numpy_dtype), lo, hi).numpy().tolist() == [1, min(120, hi)]


def test_bounds_with_nothing_between():
    with pytest.raises(ValueError, match=r"^clip_by_value: clip_value_min is 300 \(int\) .* t is uint8 \(0 to 255\)"):
        ours.clip_by_value(tf.constant([1], tf.uint8), 300, 400)
    with pytest.raises(ValueError, match=r"clip_value_max is -1 \(int\)"):
        ours.clip_by_value(tf.constant([1], tf.uint8), -5, -1)
