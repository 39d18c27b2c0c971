# SPDX-License-Identifier: BSD-3-Clause
"""A run against an earlier one: what became slower is told from what a faster machine or chance does."""

import io

import benchrecords
import pytest

from fastclip._bench.report import markdown, table
from fastclip._bench.report.against import compare, remarks, section

TWO = ("fastclip", "numpy")


def run(slow=1.0, machine=1.0, peers=TWO, **fields):
    """A run of one row; `machine` multiplies everybody's times."""
    row = benchrecords.row(slow=slow, peers=peers, **fields)
    row["seconds"] = {name: [machine * time for time in times] for name, times in row["seconds"].items()}
    return benchrecords.record([row])


@pytest.mark.parametrize("machine", [0.3, 1, 3])
@pytest.mark.parametrize(("slow", "slower", "faster"), [(1, 0, 0), (1.04, 0, 0), (1.3, 1, 0), (0.7, 0, 1)])
def test_the_machine_cancels_out(machine, slow, slower, faster):
    compared = compare(run(slow, machine), run())
    (change,) = compared.changes
    assert (change.slower, change.faster) == (slower, faster)
    assert compared.regressed is bool(slower)
    assert change.ratio.median == pytest.approx(slow)
    assert change.ratio.low <= slow <= change.ratio.high
    assert change.yardstick == "limit"


def test_the_interval_reaches_from_the_best_case_to_the_worst():
    (change,) = compare(run(1.2), run()).changes
    assert change.ratio.low == change.now.low / change.then.high
    assert change.ratio.high == change.now.high / change.then.low
    assert change.ratio.low < change.now.low / change.then.median < change.ratio.median


def test_wide_intervals_and_few_rounds_flag_nothing():
    noisy = run(1.3)
    noisy["rows"][0]["seconds"]["fastclip"][::2] = run()["rows"][0]["seconds"]["fastclip"][::2]
    assert not compare(noisy, run()).regressed
    few = compare(run(3, rounds=5), run(rounds=5))
    assert not few.regressed
    assert few.changes[0].ratio.median == pytest.approx(3)
    assert "(" not in section(few).groups[0].rows[0][5]


@pytest.mark.parametrize(("now", "then"), [(False, True), (True, False), (False, False)])
def test_numpy_is_the_yardstick_where_one_has_no_limit(now, then):
    compared = compare(run(1.3, limit=now), run(limit=then))
    assert compared.changes[0].yardstick == "numpy"
    assert compared.regressed


def test_rows_without_a_yardstick_and_rows_of_one_run_are_named():
    compared = compare(run(limit=False, peers=("fastclip",)), run())
    assert not compared.changes
    assert compared.without == ["resnet50, 2 threads, norm, within limit, f32, 102.2 MB"]
    other = compare(run(threads=1), run())
    assert other.only_now == ["resnet50, 1 thread, norm, within limit, f32, 102.2 MB"]
    assert other.only_then == ["resnet50, 2 threads, norm, within limit, f32, 102.2 MB"]
    said = " ".join(remarks(other))
    assert "Only in this run: 1 row: resnet50, 1 thread" in said
    assert "0 rows compared" in said


def test_many_rows_of_one_run_are_counted_and_a_few_named():
    rows = [benchrecords.row(f"w{i}") for i in range(10)]
    said = remarks(compare(benchrecords.record(rows[:1], accuracy=[]), benchrecords.record(rows, accuracy=[])))
    (line,) = [line for line in said if line.startswith("Only in the earlier run: 9 rows: w1")]
    assert line.endswith("and 6 more.")
    assert "w4" not in line


def test_a_row_that_failed_and_an_input_whose_norm_became_wrong_are_regressions():
    then = run()
    failed = run()
    failed["failed"] = {"gpt2, within": "MemoryError: no room"}
    assert compare(failed, then).regressed
    assert "FAILED gpt2, within (MemoryError: no room)" in remarks(compare(failed, then))
    assert not compare(failed, failed).regressed
    wrong = run()
    (entry,) = [entry for entry in wrong["accuracy"] if entry["case"] == "all elements 1e20"]
    entry["wrong"] = {**entry["wrong"], "fastclip": "norm not finite"}
    assert compare(wrong, then).regressed
    assert "WRONG norm, right in the earlier run: all elements 1e20, f32, 1,000 elements" in remarks(
        compare(wrong, then)
    )
    assert not compare(wrong, wrong).regressed
    assert not compare(then, wrong).regressed


@pytest.mark.parametrize("field", ["workload", "operation", "dtype", "cache", "sweep", "bytes", "arrays"])
def test_rows_that_differ_in_anything_are_not_compared(field):
    now, then = run(), run()
    now["rows"][0][field] = {"bytes": 1, "arrays": 2, "cache": "cold", "sweep": "cache"}.get(field, "value")
    assert not compare(now, then).changes


def test_another_cpu_is_said():
    now, then = run(), run()
    assert compare(now, then).differences == []
    now["environment"]["cpu"] = "Another"
    now["environment"]["fastclip"]["isa"] = "avx512"
    said = " ".join(remarks(compare(now, then)))
    assert "CPU: AMD EPYC then, Another now." in said
    assert "isa: avx2 then, avx512 now." in said
    assert "another CPU are no measure" in said


def test_a_norm_that_became_wrong_is_a_regression():
    now = run()
    now["rows"][0]["wrong"]["fastclip"] = "off by 1"
    compared = compare(now, run())
    assert compared.regressed
    assert section(compared).groups[0].rows[0][-1] == "WRONG"
    assert "1 wrong that were right" in remarks(compared)[-1]
    assert not compare(now, now).regressed


def test_the_table_has_the_slower_ones_first():
    rows = [benchrecords.row(name, slow=slow) for name, slow in (("a", 1), ("b", 0.5), ("c", 2))]
    compared = compare(benchrecords.record(rows), benchrecords.record([dict(benchrecords.row(n)) for n in "abc"]))
    laid = section(compared)
    assert [group.heads[0] for group in laid.groups] == ["c", "a", "b"]
    assert [group.rows[0][-1] for group in laid.groups] == ["SLOWER", "", "faster"]
    file = io.StringIO()
    table.show_section(laid, table.console(file))
    assert "SLOWER" in file.getvalue()
    assert "| SLOWER |" in markdown.tables(laid)
    assert remarks(compared) == ["3 rows compared: 1 slower, 1 faster."]
