# SPDX-License-Identifier: BSD-3-Clause
"""GPU arrays of others: the CUDA array interface and DLPack, all that they may say, and what they may not."""

import capsules
import numpy as np
import pytest
from dtypes import BF16, F16, F32, F64

import fastclip


class Interface:
    """Memory with a CUDA array interface, and nothing else."""

    def __init__(self, array, **changes):
        self._array = array
        self.__cuda_array_interface__ = {
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (array.ctypes.data, False),
            "strides": None,
            "version": 3,
        } | changes


def test_the_cuda_array_interface(cp):
    a = np.array([3.0, 4.0], F32)
    assert float(fastclip.clip_by_global_norm_([Interface(a)], 1.0)) == 5.0
    assert np.abs(a - [0.6, 0.8]).max() < 1e-7
    assert cp.cuda.waits == []


def test_strides_of_the_interface(cp):
    block = np.ones((4, 6), F64)
    part = block[::-2, 1:4]
    fastclip.clip_by_value_(Interface(part, strides=part.strides), -0.5, 0.5)
    expected = np.ones((4, 6))
    expected[::-2, 1:4] = 0.5
    assert (block == expected).all()


def test_work_of_another_stream_is_waited_for_on_the_device(cp):
    cp.cuda.stream.ptr = 7
    a = np.ones(4, F32)
    fastclip.clip_by_global_norm_([Interface(a, stream=9), Interface(np.ones(4), stream=7)], 1.0)
    assert cp.cuda.waits == [(7, 9), (9, 7)]  # before the kernels, and after them
    assert cp.cuda.synchronizations == 0


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"mask": object()}, TypeError, "has a mask"),
        ({"data": (64, True)}, ValueError, "is read-only"),
        ({"stream": 0}, ValueError, "stream 0"),
        ({"typestr": "<i4"}, TypeError, "is int32; expected float16, bfloat16, float32 or float64"),
        ({"typestr": ">f4"}, TypeError, "is >f4; expected float16"),
        ({"typestr": "<V2"}, TypeError, r"is \|V2; expected float16"),
        ({"strides": (8,)}, ValueError, "no two elements are adjacent"),
        ({"strides": (0,)}, ValueError, "no two elements are adjacent"),
        ({"data": None}, TypeError, "can't be taken as a CUDA array"),
        ({"data": (66, False)}, ValueError, "no multiples of its itemsize"),
        ({"shape": (3, 3), "strides": (14, 4)}, ValueError, "no multiples of its itemsize"),
    ],
)
def test_what_the_interface_may_not_say(cp, changes, error, words):
    good = np.ones(3, F32)
    with pytest.raises(error, match=rf"^clip_by_global_norm_: t_list\[1\].*{words}"):
        fastclip.clip_by_global_norm_([cp.view(good), Interface(np.ones(3, F32), **changes)], 1.0)
    assert (good == 1.0).all()
    assert cp.cuda.launches == []


# ---- DLPack


class Legacy(capsules.Producer):
    """DLPack before version 1."""

    def __dlpack__(self, *, stream):
        self.asked.append({"stream": stream})
        return self.make(capsules.LEGACY)


def lent(array, kind=capsules.Producer, **fields):
    return kind(array, reported=2, **({"device": 2, "device_id": 0} | fields))


@pytest.mark.parametrize("kind", [capsules.Producer, Legacy])
@pytest.mark.parametrize("dtype", [F16, BF16, F32, F64], ids=str)
def test_dlpack(cp, kind, dtype):
    a = np.array([[3.0, 0.0], [0.0, 4.0]], dtype)
    lender = lent(a, kind)
    assert float(fastclip.clip_by_global_norm_([lender], 2.5)) == 5.0
    assert (a == np.array([[1.5, 0.0], [0.0, 2.0]], dtype)).all()
    assert lender.asked[-1]["stream"] == 1  # CUDA's default stream, in DLPack's numbers
    assert lender.deleted == lender.made


def test_dlpack_on_another_stream_with_strides_and_an_offset(cp):
    cp.cuda.stream.ptr = 4711
    block = np.ones((4, 6), F32)
    lender = lent(block[1:, 2:4], data=block.ctypes.data, byte_offset=32)
    fastclip.clip_by_value_(lender, -0.5, 0.5)
    assert block.sum() == 24 - 3
    assert (block[1:, 2:4] == 0.5).all()
    assert lender.asked == [{"stream": 4711, "max_version": (1, 0)}]


def test_the_stream_is_that_of_the_arrays_device(fake, monkeypatch):
    asked = []
    monkeypatch.setattr(fake.cuda, "get_current_stream", lambda device=-1: asked.append(device) or fake.cuda.stream)
    fastclip.global_norm([lent(np.ones(4, F32), device_id=3)])
    assert asked[0] == 0  # as __dlpack_device__ says, before there is a capsule


def test_dlpack_without_strides_and_without_dimensions(cp):
    a = np.full((2, 3), 2.0, F32)
    fastclip.clip_by_value_([lent(a, strides=None)], 0.0, 1.0)
    assert (a == 1.0).all()
    scalar = np.array(2.0, F32)
    fastclip.clip_by_value_([lent(scalar, shape=None, strides=None)], 0.0, 1.0)
    assert scalar == 1.0


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"flags": capsules.READ_ONLY}, ValueError, "is read-only"),
        ({"flags": capsules.COPIED}, TypeError, "holds a copy"),
        ({"major": 2}, TypeError, "has version 2; 1 is known"),
        ({"code": 0}, TypeError, "is int32; expected"),
        ({"lanes": 4}, TypeError, "is float32x4; expected"),
        ({"capsule": object()}, TypeError, "can't be taken as an array"),
        ({"data": None}, TypeError, "no memory for its elements"),
    ],
)
def test_what_a_capsule_may_not_say(cp, fields, error, words):
    a = np.ones(4, F32)
    with pytest.raises(error, match=rf"^clip_by_norm_: t\[0\].*{words}"):
        fastclip.clip_by_norm_([lent(a, **fields)], 1.0)
    assert (a == 1.0).all()
    assert cp.cuda.launches == []


def test_what_may_not_be_written_may_be_read(cp):
    assert float(fastclip.global_norm([lent(np.ones(4, F32), flags=capsules.READ_ONLY)])) == 2.0


def test_an_object_whose_export_fails(cp):
    class Refuses:
        def __dlpack_device__(self):
            return (2, 0)

        def __dlpack__(self, **_):
            raise BufferError("requires grad")

    with pytest.raises(TypeError, match=r"^global_norm: t_list\[0\] .*can't be taken as an array: requires grad"):
        fastclip.global_norm([Refuses()])
