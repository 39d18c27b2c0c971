# SPDX-License-Identifier: BSD-3-Clause
"""The budget of instructions for small calls. `benchmarks/instructions.py --update` after a change that is worth it."""

import json
import os

import pytest
from benchmarks import instructions


def test_the_budget_has_all_cases_and_an_own_setting_has_less_room():
    budget = json.loads(instructions.BUDGET.read_text())
    assert list(budget["instructions"]) == list(instructions.CASES)
    case = "rl_policy within"
    here = {**budget, "setting": instructions.setting()}
    elsewhere = {**budget, "setting": {**instructions.setting(), "compiler": "another"}}
    assert budget["instructions"][case] < instructions.allowed(here, case) < instructions.allowed(elsewhere, case)


@pytest.mark.parametrize("case", instructions.CASES)
def test_a_small_call_keeps_to_its_budget(case):
    reason = instructions.missing()
    if reason and not (os.environ.get("FASTCLIP_REQUIRE_VALGRIND") and "valgrind" in reason):
        pytest.skip(reason)
    assert not reason
    budget = json.loads(instructions.BUDGET.read_text())
    counted = instructions.count(case)
    assert 0 < counted <= instructions.allowed(budget, case)
