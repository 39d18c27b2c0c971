# SPDX-License-Identifier: BSD-3-Clause
"""Tests that are for a GPU, over the fake: what they expect is known to be right before one is at hand."""

import importlib.util
import inspect
import itertools
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("tests_for_a_gpu", Path(__file__).with_name("test_gpu.py"))
gpu = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(gpu)

#: those that need no more of CuPy than the fake has
NAMES = (
    "a_list",
    "subnormal_and_huge_numbers",
    "nan_and_infinity",
    "values_and_statistics",
    "rows",
    "columns",
    "rows_that_are_kept_have_the_bits_of_two_launches",
)


def _cases():
    for name in NAMES:
        test = getattr(gpu, f"test_{name}")
        marks = [m for m in getattr(test, "pytestmark", []) if m.name == "parametrize"]
        for values in itertools.product(*(m.args[1] for m in marks)):
            arguments = {}
            for mark, value in zip(marks, values, strict=True):
                fields = mark.args[0]
                arguments |= {fields: value} if isinstance(fields, str) else dict(zip(fields, value, strict=True))
            assert set(inspect.signature(test).parameters) == {"cupy", *arguments}
            yield pytest.param(test, arguments, id=f"{name}-{'-'.join(map(str, arguments.values()))}")


@pytest.mark.parametrize(("test", "arguments"), list(_cases()))
def test_over_the_fake(cp, test, arguments):
    test(cp, **arguments)
    assert cp.cuda.launches
