# SPDX-License-Identifier: BSD-3-Clause
"""The native backend against the reference in NumPy: the same norm and the same bytes."""

import itertools

import numpy as np
import oracle
import pytest
from buffers import copies, spread
from dtypes import BF16, DTYPES, F16, F32, F64, HALVES, rounded
from hypothesis import given
from strategies import array_lists, limits

from fastclip import _core
from fastclip._backends.reference import Reference
from fastclip._rules import AVERAGE_NORM, GLOBAL_NORM, POLICIES, TENSOR_NORM, Rule


def native_rule(rule):
    return _core.Rule(rule.slack, rule.nonfinite, rule.average)


@pytest.mark.parametrize("policy", POLICIES)
@given(array_lists(nonfinite=True), limits())
def test_native_and_reference_clip_lists_alike(policy, arrays, limit):
    native, reference = copies(arrays), copies(arrays)
    rule = GLOBAL_NORM[policy]
    a = _core.clip_list(native, None, limit, None, native_rule(rule), True)
    b = Reference().clip_list(reference, None, limit, None, rule, True)
    assert repr(a) == repr(b)
    assert oracle.same_bits(native, reference)


@pytest.mark.parametrize("rule", [*TENSOR_NORM.values(), *AVERAGE_NORM.values()], ids=repr)
@given(array_lists(nonfinite=True), limits())
def test_native_and_reference_clip_each_alike(rule, arrays, limit):
    native, reference = copies(arrays), copies(arrays)
    _core.clip_each(native, None, limit, native_rule(rule), True)
    Reference().clip_each(reference, None, limit, rule, True)
    assert oracle.same_bits(native, reference)


@given(array_lists(nonfinite=True))
def test_native_and_reference_measure_alike(arrays):
    assert repr(_core.measure_list(arrays)) == repr(Reference().measure_list(arrays))
    assert repr(_core.norm_list(arrays)) == repr(Reference().norm_list(arrays))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    "norm", [1 + 2.0**-8 + 2.0**-40, 1 + 2.0**-11 + 2.0**-40, 65519.9, 65520.0, 3.4e38, 1e200, 7e-46]
)
def test_a_norm_is_rounded_to_the_dtype_once(isa, dtype, norm):
    native, reference = np.zeros((), dtype), np.zeros((), dtype)
    _core.norm_into(np.array([norm]), native)
    Reference().norm_into(np.array([norm]), reference)
    assert native == rounded(norm, dtype)
    assert reference == rounded(norm, dtype)


@pytest.mark.parametrize("kind", ["f16", "bf16", "f32", "f64", "16", "mixed"])
def test_native_and_reference_agree_on_large_lists(isa, kind):
    dtypes = {"f16": [F16], "bf16": [BF16], "f32": [F32], "f64": [F64], "16": HALVES, "mixed": DTYPES}[kind]
    sizes = (oracle.CHUNK * 70 + 11, 3, oracle.CHUNK - 1, 100_000)
    arrays = [spread(dtype, n) for dtype, n in zip(itertools.cycle(dtypes), sizes, strict=False)]
    native, reference = copies(arrays), copies(arrays)
    rule = Rule()
    a = _core.clip_list(native, None, 0.1, None, native_rule(rule), True)
    assert a == Reference().clip_list(reference, None, 0.1, None, rule, True)
    assert oracle.same_bits(native, reference)
