# SPDX-License-Identifier: BSD-3-Clause
"""Ratios are paired, few rounds have no interval, and numbers are written the same everywhere."""

import math

import benchrecords
import pytest

from fastclip._bench.intervals import Interval
from fastclip._bench.report import figures, formats


def test_ratios_are_paired_within_the_round():
    row = benchrecords.row(rounds=30)
    row["seconds"]["numpy"] = [float(i) for i in range(1, 31)]
    row["seconds"]["fastclip"] = [i / 4 for i in range(1, 31)]
    assert figures.ratio(row, "numpy", "fastclip") == (4, 4, 4)


@pytest.mark.parametrize(("rounds", "confidence", "bounded"), [(5, 0.95, False), (6, 0.95, True), (6, 0.975, False)])
def test_few_rounds_have_a_median_and_no_interval(rounds, confidence, bounded):
    ratio = figures.ratio(benchrecords.row(rounds=rounds), "numpy", "fastclip", confidence)
    assert math.isfinite(ratio.high) is bounded
    assert (ratio.low > 0) is bounded
    assert ("(" in formats.times(ratio)) is bounded


def test_peers_are_in_order_and_without_the_limits():
    row = benchrecords.row()
    row["seconds"] = {name: [1.0] for name in ("zebra", "torch", "streams", "numpy", "limit", "fastclip")}
    assert figures.peers([row]) == ["fastclip", "numpy", "torch", "zebra"]


def test_warnings_say_what_was_in_the_way():
    quiet = benchrecords.record()
    assert figures.warnings(quiet) == []
    row = benchrecords.row("gpt2", "clip", noise=0.123, disturbed=7)
    made = benchrecords.record([row], interrupted=True)
    made["environment"]["load_average"] = [1.5, 0, 0]
    said = " ".join(figures.warnings(made))
    assert "Interrupted" in said
    assert "10% on 1 of 1 rows, most on gpt2 clip (12%)." in said
    assert "during 7 of 30 rounds" in said
    assert "1.50" in said


def test_an_install_without_native_code_is_said():
    made = benchrecords.record(bandwidth={})
    made["environment"]["fastclip"]["note"] = "no native code: everything runs on NumPy"
    assert figures.warnings(made) == [
        "fastclip: no native code: everything runs on NumPy.",
        "No memory limit: its loops are built with fastclip's native code, on Linux.",
    ]


def test_wrong_norms_are_named_once_with_their_places():
    rows = [benchrecords.row("resnet50"), benchrecords.row("gpt2", "within"), benchrecords.row("gpt2", "clip")]
    made = benchrecords.record(rows, accuracy=[])
    assert figures.wrongs(made) == [
        "PyTorch: resnet50 (relative error 1.9e-05, above 1e-05); gpt2 (relative error 1.9e-05, above 1e-05)"
    ]


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (formats.size, 40, "40 B"),
        (formats.size, 40_000, "40 KB"),
        (formats.size, 102_228_128, "102.2 MB"),
        (formats.size, 1 << 30, "1.1 GB"),
        (formats.duration, 4e-7, "400 ns"),
        (formats.duration, 4e-6, "4.0 µs"),
        (formats.duration, 4e-3, "4.00 ms"),
        (formats.duration, 4.0, "4.00 s"),
        (formats.over, Interval(0.97, 0.9, 1.0), "0.97 (0.90-1.00)"),
        (formats.over, Interval(32.3, 31.9, 33.0), "32.3 (31.9-33.0)"),
        (formats.times, Interval(1562, 1546, 1581), "1562 (1546-1581)"),
        (formats.times, Interval(1.5, 0, math.inf), "1.5"),
        (formats.times, Interval(0.24, 0.2, 0.3), "0.24 (0.20-0.30)"),
        (formats.times, Interval(0.034, 0, math.inf), "0.034"),
        (formats.over, Interval(0.97, 0, math.inf), "0.97"),
        (formats.error, 2.3e-6, "2.3e-06"),
        (formats.error, None, ""),
        (formats.cache_bytes, "32K", 1 << 15),
        (formats.cache_bytes, "32M", 1 << 25),
        (formats.cache_bytes, "512", 512),
        (formats.label, "torch", "PyTorch"),
        (formats.label, "somebody", "somebody"),
        (formats.operation, "something", "something"),
    ],
)
def test_numbers_and_names(write, value, text):
    assert write(value) == text


@pytest.mark.parametrize(("nbytes", "text"), [(1 << 10, "1 KB"), (1 << 25, "32 MB"), (512, "512 B"), (1 << 30, "1 GB")])
def test_powers_of_two_have_whole_units(nbytes, text):
    assert formats.in_units(nbytes, formats.BYTES) == text


def test_powers_of_ten_seconds_have_whole_units():
    assert [formats.in_units(10.0**i, formats.SECONDS) for i in (-9, -6, -4, -3, 0)] == [
        "1 ns",
        "1 µs",
        "100 µs",
        "1 ms",
        "1 s",
    ]
