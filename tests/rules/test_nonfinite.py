# SPDX-License-Identifier: BSD-3-Clause
"""Contract, clause 6: what NaN and infinity among the elements lead to, and that a norm's overflow leads to nothing."""

import math

import numpy as np
import oracle
import pytest
from buffers import copies
from dtypes import DTYPES

import fastclip
from fastclip._rules import POLICIES

EACH_DTYPE = pytest.mark.parametrize("dtype", DTYPES, ids=str)
EACH_POLICY = pytest.mark.parametrize("policy", POLICIES)


def clip(arrays, limit, **options):
    """Copies, clipped in place, and the norm."""
    out = copies(arrays)
    return out, fastclip.clip_by_global_norm_(out, limit, **options)


BAD = {"infinity": [math.inf, 1.0, -math.inf], "NaN": [math.nan, 1.0, -2.0], "both": [math.inf, math.nan, 1.0]}


@pytest.mark.parametrize("kind", BAD)
@EACH_DTYPE
@EACH_POLICY
def test_clause_6_policies(isa, dtype, kind, policy):
    before = [np.array([3.0, -4.0], dtype), np.array(BAD[kind], dtype)]
    after = copies(before)
    nan = math.nan
    if policy == "raise":
        with pytest.raises(FloatingPointError, match="NaN or infinity"):
            fastclip.clip_by_global_norm_(after, 1.0, nonfinite=policy)
        assert oracle.same_bits(after, before)
        return
    norm = fastclip.clip_by_global_norm_(after, 1.0, nonfinite=policy)
    if policy == "zero":
        finite = [np.where(np.isfinite(a), a, 0).astype(dtype) for a in before]
        assert norm == oracle.norm(finite)
        oracle.check_clipped(finite, after, 1.0)
        return
    assert math.isnan(norm) if "nan" in repr(before[1]) else norm == math.inf
    if policy == "skip":
        expected = before
    elif policy == "nan" or kind != "infinity":
        expected = [np.full_like(a, nan) for a in before]
    else:  # finite * 0, infinity * 0
        expected = [np.array([0.0, -0.0], dtype), np.array([nan, 0.0, nan], dtype)]
    assert oracle.same_bits(after, expected)


@EACH_POLICY
def test_clause_6_a_norm_beyond_f64_is_no_non_finite_element(isa, policy):
    before = [np.full(3, 1.5e308), np.full(3, -1e307)]
    after, norm = clip(before, 1.0, nonfinite=policy)
    assert norm == math.inf
    oracle.check_clipped(before, after, 1.0)
    out, norm = fastclip.clip_by_global_norm(before, 1.0)
    assert norm == math.inf
    assert oracle.same_bits(out, after)


@EACH_DTYPE
def test_clause_6_each_function_has_its_default(isa, dtype):
    """Out of place as TensorFlow, NaN everywhere; in place as arithmetic has it, for NaN can't be undone."""
    x = np.array([math.inf, 1.0, -1.0], dtype)
    everywhere, arithmetic = np.full(3, math.nan, dtype), np.array([math.nan, 0.0, -0.0], dtype)
    assert oracle.same_bits(fastclip.clip_by_global_norm([x], 1.0)[0][0], everywhere)
    assert oracle.same_bits(fastclip.clip_by_norm(x, 1.0), everywhere)
    assert oracle.same_bits(fastclip.clip_by_average_norm(x, 1.0), everywhere)
    assert oracle.same_bits(clip([x], 1.0)[0][0], arithmetic)
    for function in (fastclip.clip_by_norm_, fastclip.clip_by_average_norm_):
        y = x.copy()
        function(y, 1.0)
        assert oracle.same_bits(y, arithmetic)
