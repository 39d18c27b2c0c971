# SPDX-License-Identifier: BSD-3-Clause
"""DLPack producers that lie and raise: a typed error, nothing written, the tensor deleted once."""

import gc

import numpy as np
import pytest
from capsules import LEGACY, VERSIONED, Producer
from hostile import CALLS, READING, refused

import fastclip

pytestmark = pytest.mark.skipif(fastclip.show_config()["isas"] == ("none",), reason="the import is native")

FIELDS = {
    "null data": {"data": None},
    "null shape": {"shape": None},
    "lanes 0": {"lanes": 0},
    "lanes 4": {"lanes": 4},
    "ndim -1": {"ndim": -1},
    "ndim 65": {"ndim": 65},
    "ndim huge": {"ndim": 2**31 - 1},
    "negative shape": {"shape": [-1]},
    "huge shape": {"shape": [2**62]},
    "product": {"shape": [2**31, 2**31, 2], "ndim": 3, "strides": None},
    "product beside a zero": {"shape": [2**62, 0, 2**62], "ndim": 3, "strides": None},
    "stride": {"strides": [2**62]},
    "negative stride": {"strides": [-(2**63)]},
    "reach": {"strides": [2**59], "shape": [9]},
    "reach below zero": {"strides": [-(2**50)], "shape": [1000]},
    "byte_offset": {"byte_offset": 2**63},
    "byte_offset round the end": {"byte_offset": 2**64 - 8},
    "CUDA": {"device": 2},
    "device 0": {"device": 0},
    "complex": {"code": 5, "bits": 64},
    "bool": {"code": 6, "bits": 8},
    "float8": {"code": 10, "bits": 8},
    "f128": {"bits": 128},
    "f4": {"bits": 4},
    "bf32": {"code": 4, "bits": 32},
    "int 128": {"code": 0, "bits": 128},
}
VERSIONS = {"major 0": {"major": 0}, "major 2": {"major": 2, "data": None}, "major huge": {"major": 2**32 - 1}}


@pytest.mark.parametrize("kind", [LEGACY, VERSIONED])
@pytest.mark.parametrize("field", [*FIELDS, *VERSIONS])
def test_h7_every_bad_field_is_refused_and_the_tensor_deleted_once(field, kind):
    if kind == LEGACY and field in VERSIONS:
        return
    made = []

    def make():
        made.append(Producer(np.full(4, 5.0), kind, **(FIELDS | VERSIONS)[field]))
        return made[-1]

    refused(CALLS | READING, make, match=r"^[a-z_]+: t(_list)?(\[\d\])? \(of type Producer\) [a-z].*\.$")
    gc.collect()
    assert {(p.made, p.deleted) for p in made} == {(1, 1)}


def used():
    capsule = Producer(np.full(4, 5.0)).make(VERSIONED)
    fastclip._core.from_dlpack(capsule, lambda: None)
    return capsule


CAPSULES = {
    "int": lambda: 5,
    "str": lambda: "dltensor",
    "used": used,
    "other name": lambda: Producer(np.full(4, 5.0)).make(VERSIONED, b"tensor"),
    "other version's name": lambda: Producer(np.full(4, 5.0)).make(VERSIONED, b"dltensor_versioned_2"),
}


@pytest.mark.parametrize("capsule", CAPSULES)
def test_h7_what_is_no_capsule_is_refused(capsule):
    refused(CALLS | READING, lambda: Producer(np.ones(1), capsule=CAPSULES[capsule]()), match=r"\) gives a?.*capsule")


def raiser(error):
    def method(self, **_):
        raise error

    return method


@pytest.mark.parametrize("error", [TypeError, BufferError, RuntimeError, KeyError, AttributeError, NotImplementedError])
def test_h7_a_producer_may_raise(error):
    kind = type("Raising", (Producer,), {"__dlpack__": raiser(error("not today"))})
    refused(CALLS | READING, lambda: kind(np.ones(1)), TypeError, "Raising, can't be taken as an array: .*not today")
    kind = type("Lost", (Producer,), {"__dlpack_device__": raiser(error("not today"))})
    refused(CALLS | READING, lambda: kind(np.ones(1)), TypeError, "Lost, can't be taken as an array: .*not today")


ON_NO_CPU = r"can't be taken as an array: |, not on a GPU, and t.* is; |, of type Producer, is on a GPU; use "


@pytest.mark.parametrize("device", [2, 10, 13, (), "cpu", None])
def test_h7_a_device_is_asked_for_first(device):
    made = Producer(np.ones(1), reported=device)
    # 2 and 13 are CUDA's: the arrays beside it are not on that GPU
    refused(CALLS | READING, lambda: made, TypeError, ON_NO_CPU)
    assert made.made == 0


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_h7_errors_that_are_nobodys_fault_pass(error):
    kind = type("Raising", (Producer,), {"__dlpack__": raiser(error())})
    with pytest.raises(error):
        fastclip.global_norm([kind(np.ones(1))])


def test_h7_null_data_is_named():
    with pytest.raises(ValueError, match=r"^global_norm: t_list\[0\] .* has no memory: its DLPack data is null\.$"):
        fastclip.global_norm([Producer(np.full(4, 5.0), data=None)])
