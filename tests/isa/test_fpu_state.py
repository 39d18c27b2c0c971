# SPDX-License-Identifier: BSD-3-Clause
"""The caller's floating-point state changes no result, and no call changes that state (contract, clause 10).

Flushing to zero is what torch.set_flush_denormal and libraries built with -ffast-math do to a process; new threads
inherit it, so that a pool made under it could keep it for ever.
"""

import itertools
import json
import math
import os
import subprocess
import sys

import fpu
import numpy as np
import pytest
from buffers import spread
from dtypes import DTYPES, F32, F64, finfo
from strategies import corner_values

import fastclip

STATES = list(itertools.product(fpu.ROUNDING, fpu.FLUSH))
each_state = pytest.mark.parametrize(("rounding", "flush"), STATES)


def test_the_states_do_change_arithmetic():
    """Or the tests below would show nothing."""
    one, tiny = np.ones(3), np.full(3, 5e-324)
    with fpu.state("up"):
        up = one + 1e-300
    with fpu.state("nearest", "flush"):
        flushed = tiny * 3.0
    assert (up > 1.0).all()
    assert not flushed.any()


def arrays():
    """Ordinary numbers, and subnormal ones that count: alone in their list, and as results."""
    for dtype in DTYPES:
        yield [spread(dtype, 1000), spread(dtype, 33)]
        least = finfo(dtype).smallest_subnormal
        yield [np.full(100, 3 * least, dtype), np.full(7, least, dtype)]
        yield [np.array(corner_values(dtype), dtype)]
    yield [spread(F32, 2000), spread(F64, 2000)]
    yield [spread(dtype, 300) for dtype in DTYPES]


CALLS = {
    "clip_by_global_norm_": lambda x, limit: fastclip.clip_by_global_norm_(x, limit),
    "clip_by_global_norm": lambda x, limit: fastclip.clip_by_global_norm(x, limit),
    "clip_by_norm_": lambda x, limit: fastclip.clip_by_norm_(x, limit),
    "clip_by_norm_ by rows": lambda x, limit: fastclip.clip_by_norm_([a.reshape(1, -1) for a in x], limit, axes=1),
    "clip_by_average_norm_": lambda x, limit: fastclip.clip_by_average_norm_(x, limit),
    "clip_by_value_": lambda x, limit: fastclip.clip_by_value_(x, -limit, limit),
    "global_norm": lambda x, limit: fastclip.global_norm(x),
    "norm": lambda x, limit: [fastclip.norm(a) for a in x],
    "measure": lambda x, limit: fastclip.measure(x),
}


def digest(value):
    if isinstance(value, np.ndarray):
        return value.tobytes().hex()
    if isinstance(value, (list, tuple)):
        return [digest(v) for v in value]
    return value.hex() if isinstance(value, float) else repr(value)


def outcomes(call, limits, rounding="nearest", flush="keep"):
    """What a call returns and leaves in its arrays, for each list and limit; digested outside of the state."""
    results = []
    for limit in limits:
        for x in arrays():
            with fpu.state(rounding, flush) as word:
                returned = call(x, limit)
                after = fpu.get()
            assert after == word, "the call changed the caller's state"
            results.append((digest(returned), digest(x)))
    return results


@each_state
@pytest.mark.parametrize("name", CALLS)
def test_no_state_changes_a_result(isa, name, rounding, flush):
    limits = [0.1, 1e-44, 5e-323, 1e-310]
    expected = outcomes(CALLS[name], limits)
    assert outcomes(CALLS[name], limits, rounding, flush) == expected


@pytest.mark.parametrize("name", ["clip_by_global_norm_", "clip_by_norm_", "clip_by_value_", "global_norm"])
def test_no_exception_flag_is_left_behind(isa, name):
    """Inexact, underflow, overflow: other code may be looking for its own."""
    for x in ([spread(F32, 1000)], [np.full(9, 1e200)], [np.array([math.nan, math.inf])]):
        with fpu.state():
            CALLS[name](x, 0.1)
            flags = fpu.get_flags()
        assert flags == 0


# A process whose pool of threads is made under the state, by its first call. Prints the norm and the bytes' sum.
CHILD = """
import hashlib, json, sys
import numpy as np
import fpu
import fastclip
fastclip.set_num_threads(4)
x = np.ldexp(np.sin(np.arange(5_000_000)), -134).astype(np.float32)  # all subnormal
y = np.sin(np.arange(2_000_000))
with fpu.state(*sys.argv[1:]):
    norms = [fastclip.clip_by_global_norm_([x], 1e-37), fastclip.clip_by_global_norm_([y], 0.1)]
with fpu.state():
    norms += [fastclip.global_norm([x]), fastclip.global_norm([y])]
print(json.dumps([[n.hex() for n in norms], hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest()]))
"""


def run_child(rounding, flush):
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    done = subprocess.run(
        [sys.executable, "-c", CHILD, rounding, flush], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_pool_made_under_another_state_gives_the_same_results():
    expected = run_child("nearest", "keep")
    assert float.fromhex(expected[0][0]) > 0.0
    for state in (("nearest", "flush"), ("up", "keep"), ("toward zero", "flush")):
        assert run_child(*state) == expected, state


def test_import_leaves_the_state_alone():
    """No library of ours is linked with code that sets it (crtfastmath.o)."""
    script = "import fpu, numpy; before = fpu.get(); import fastclip; print(fpu.get() == before, 5e-324 * 1.0 > 0.0)"
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["True", "True"], done.stderr
