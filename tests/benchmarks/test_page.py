# SPDX-License-Identifier: BSD-3-Clause
"""The published page says what the published run says, and a run of everything has its place on it."""

import copy
import json
import re

import benchrecords
import pytest
from benchmarks.comparison import BEGIN, END, fill, table
from benchmarks.page import PAGE, README, RESULT, comparison, render

from fastclip._bench.cases import WORKLOADS


def published():
    return json.loads(RESULT.read_text())


def test_performance_page_is_made_from_the_published_run():
    assert PAGE.read_text() == render(published(), comparison())


def test_every_line_of_a_table_has_a_cell_for_each_heading():
    tables = re.findall(r"(?:^\|.*\n)+", PAGE.read_text(), re.MULTILINE)
    assert len(tables) > 10
    for lines in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines.splitlines()}) == 1, lines


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


def test_readme_table_is_made_from_the_published_comparison():
    text = README.read_text()
    assert text == fill(text, comparison())


def test_the_comparison_has_its_part_on_the_page_and_its_table_in_the_readme():
    record = benchrecords.record()
    page = render(published(), record)
    assert "## Against other libraries" in page
    assert "| gpt2 | norm, clipping |" in page
    assert "| PyTorch | 16.25 ms |" in page
    assert page.index("## Memory") < page.index("## Against other libraries") < page.index("## To repeat it")
    readme = fill(f"before\n{BEGIN}\nold\n{END}\nafter\n", record)
    lines = [line for line in readme.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 8
    assert lines[0].startswith("| gradients |  | fastclip | x limit | NumPy | PyTorch |")
    assert "| ResNet-50: 161 arrays, 102.2 MB | norm, within limit | 4.26 ms | 1.05 | 1.8 | 3.8 (wrong) |" in readme
    assert readme.startswith("before\n")
    assert readme.endswith(f"{END}\nafter\n")
    assert "old" not in readme
    assert fill(readme, record) == readme


def test_the_docs_change_with_any_number_of_the_comparison():
    record, other = benchrecords.record(), benchrecords.record()
    other["rows"][4]["seconds"]["fastclip"] = [1.1 * time for time in other["rows"][4]["seconds"]["fastclip"]]
    assert render(published(), record) != render(published(), other)
    assert table(record) != table(other)


def test_a_readme_without_its_marks_is_refused():
    with pytest.raises(ValueError, match="bench:end"):
        fill(f"{BEGIN} and no more", None)
