# SPDX-License-Identifier: BSD-3-Clause
import json

import pytest
from benchmarks.memory import PAGE, SLACK, Growth
from benchmarks.report import Row, memory_table, record, table

from fastclip._bench.cases import WORKLOADS
from fastclip._bench.ruler import Result


def row(ours, rounds=30, disturbed=0, operation="within", workload="tiny_many"):
    seconds = {"fastclip": ours, "numpy": 80e-6, "torch": 480e-6, "limit": 8e-6}
    return Row(
        WORKLOADS[workload],
        Result(
            operation,
            seconds={name: [time] * rounds for name, time in seconds.items()},
            calls={"fastclip": 12, "numpy": 3, "torch": 1},
            limits={"read": "avx2 x4, 2 threads"},
            streams={},
            retaken=0,
            disturbed=disturbed,
        ),
    )


def test_ratios_are_paired_within_the_round():
    made = row(16e-6)
    made.result.seconds["fastclip"] = [8e-6 * (i + 1) for i in range(30)]
    made.result.seconds["limit"] = [4e-6 * (i + 1) for i in range(30)]
    assert made.ratios["limit"] == pytest.approx((2, 2, 2))


def test_a_row_passes_and_misses_by_its_bars():
    assert row(15e-6).missed == ()
    assert [bar.against for bar in row(16.5e-6).missed] == ["numpy"]  # 1/5 of 80 us is 16
    assert [bar.against for bar in row(18e-6).missed] == ["numpy", "torch"]  # 1/28 of 480 us is 17.1


def test_the_table_says_so():
    lines = table([row(15e-6), row(18e-6), row(18e-6, rounds=10), row(18e-6, operation="clip")]).splitlines()
    assert lines[1].endswith("pass")
    assert lines[2].endswith("MISSED numpy, torch")
    assert lines[3].endswith("(MISSED numpy, torch)")
    assert lines[4].endswith("no bar")
    assert "5.33 (5.33-5.33)" in lines[1]
    assert table([row(15e-6, rounds=40, disturbed=11)]).endswith("(pass)")


def test_the_record_is_json_and_gives_no_verdict_on_few_rounds():
    memory = [Growth("in_place", "resnet50", 100, 0, SLACK + 1)]
    kept = json.loads(json.dumps(record([row(15e-6), row(18e-6, rounds=10)], {"tiny_many": {"numpy": 0.0}}, memory)))
    assert [bar["passed"] for bar in kept["operations"][0]["bars"]] == [True, True]
    assert [bar["passed"] for bar in kept["operations"][1]["bars"]] == [None, None]
    assert kept["memory"][0]["passed"] is False


def test_memory_allows_the_result_and_whole_pages():
    out_of_place = Growth("out_of_place", "resnet50", 100, 100, 100 + 161 * PAGE + SLACK)
    assert out_of_place.passed
    assert "pass" in memory_table([out_of_place])
    assert not Growth("in_place", "resnet50", 100, 0, 100 + SLACK).passed


def test_streams_are_shown_and_judge_nothing():
    made = row(15e-6)
    made.result.seconds["streams"] = [3e-6] * 30
    made.result.streams["read"] = "avx2 x1, 2 threads, 4 streams"
    lines = table([made]).splitlines()
    assert "5.000 (5.000-5.000)" in lines[1]
    assert lines[1].endswith("pass")
    kept = record([made], {}, [])["operations"][0]
    assert kept["ratios"]["streams"]["median"] == pytest.approx(5)
    assert kept["stream_loops"] == {"read": "avx2 x1, 2 threads, 4 streams"}


def test_a_row_may_have_no_limit():
    made = row(15e-6, operation="positional", workload="clip_10")
    for other in ("limit", "torch"):
        del made.result.seconds[other]
    assert made.result.noise() == 0
    assert set(made.ratios) == {"numpy"}
    assert table([made]).splitlines()[1].endswith("numpy >= 5  pass")


def test_the_recycled_result_takes_nothing_new():
    assert not Growth("out_of_place_again", "resnet50", 100, 0, 2 * SLACK).passed
