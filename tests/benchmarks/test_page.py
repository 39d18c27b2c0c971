# SPDX-License-Identifier: BSD-3-Clause
"""The published page says what the published run says, and a run of everything has its place on it."""

import copy
import json

from benchmarks.page import PAGE, RESULT, render

from fastclip._bench.cases import WORKLOADS


def published():
    return json.loads(RESULT.read_text())


def test_performance_page_is_made_from_the_published_run():
    assert PAGE.read_text() == render(published())


def test_every_operation_of_every_workload_has_a_row_and_absent_columns_are_left_out():
    run = published()
    pattern = run["operations"][0]
    run["operations"] = []
    for workload in WORKLOADS.values():
        for operation in workload.operations:
            row = copy.deepcopy(pattern)
            row |= {
                "workload": workload.name,
                "operation": operation,
                "dtype": workload.dtype,
                "bytes": workload.nbytes,
            }
            if workload.kind == "call":
                row["ratios"] = {"numpy": row["ratios"]["numpy"]}
            else:
                row["ratios"]["streams"] = {"median": 1.25, "low": 1.125, "high": 1.375}
            if workload.dtype != "f32":
                del row["ratios"]["numpy"]
            run["operations"].append(row)
    run["norm_errors"]["gpt2_f16"] = {"fastclip": 0.0, "torch": 1e-3}
    run["norm_errors"]["clip_1"] = {}
    page = render(run)
    tables = page.partition("## Error")[0]
    for workload in WORKLOADS.values():
        assert tables.count(f"| `{workload.name}` |") == len(workload.operations)
    assert "| 1.25 (1.12 to 1.38) |" in tables
    heads = {line for line in tables.splitlines() if line.startswith("| workload")}
    assert "| workload | arrays | size | operation | fastclip | NumPy / fastclip | bar |" in heads
    assert any("streams" in head and "NumPy" not in head for head in heads)
    assert "| `gpt2_f16` | 0.0e+00 |  | 1.0e-03 |" in page
    assert all(line.count("|") == 5 for line in page.partition("## Error")[2].splitlines() if line.startswith("| `"))
