# SPDX-License-Identifier: BSD-3-Clause
"""The terminal and Markdown show what the record holds, whoever took part."""

import io
import re

import benchrecords
import pytest

from fastclip._bench.report import markdown, table

TWO = ("fastclip", "numpy")


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch):
    for name in ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


def shown(record):
    file = io.StringIO()
    table.show(record, table.console(file))
    return file.getvalue()


def part(text, title):
    """The lines from a table's title to the next empty one behind its note."""
    return re.search(rf"^(?:### )?{title} *\n.*?(?=\n\n(?:### )?[A-Z])", text + "\n\nEnd", re.DOTALL | re.MULTILINE)[0]


@pytest.mark.parametrize("count", [2, 4, 6])
def test_a_pipe_gets_lines_of_100_columns_without_colour(count):
    text = shown(benchrecords.record(peers=tuple(benchrecords.PEERS)[:count]))
    assert max(map(len, text.splitlines())) <= table.WIDTH
    assert "\x1b" not in text
    assert "…" not in text
    details = part(text, "Details")
    for line in ("norm, within limit ", "161 arrays ", "102.2 MB ", "30 rounds "):
        assert line in details  # unbroken


def test_only_who_took_part_is_there():
    text = shown(benchrecords.record(peers=TWO, missing={"torch": "pip install torch"}))
    assert "PyTorch is not installed: pip install torch" in text
    assert text.count("PyTorch") == 1
    assert "JAX" not in text


def test_the_overview_has_each_operation_of_each_workload():
    overview = part(shown(benchrecords.record(peers=TWO)), "Overview")
    rows = [line.split() for line in overview.splitlines()]
    assert sum("within" in row for row in rows) == 4
    assert ["resnet50", "norm,", "within", "limit", "4.26", "ms", "1.05", "1.8"] in rows
    assert ["clip_10", "clip(a,", "lo,", "hi)", "400", "ns", "10.0"] in rows  # has no limit


def test_details_have_the_limit_every_peer_and_the_error():
    row = benchrecords.row("resnet50", peers=(*TWO, "torch"))
    details = part(shown(benchrecords.record([row])), "Details")
    lines = [re.sub(r".*(?=limit|fastclip|NumPy|PyTorch)", "", line) for line in details.splitlines()]
    assert any(re.fullmatch(r"limit +4\.08 ms *", line) for line in lines)
    assert any(re.fullmatch(r"fastclip +4\.26 ms +1\.0\d \(1\.\d\d-1\.\d\d\) +2\.0e-16 *", line) for line in lines)
    assert any(re.fullmatch(r"NumPy +7\.\d\d ms +1\.9.*\(.*\) +1\.8 \(.*\) +2\.3e-06 *", line) for line in lines)
    assert any(re.fullmatch(r"PyTorch .* 1\.9e-05 WRONG *", line) for line in lines)


def test_wrong_norms_are_marked_and_explained():
    text = shown(benchrecords.record())
    assert "WRONG PyTorch: " in text
    assert re.search(r"resnet50 .* 3\.\d !", part(text, "Overview"))
    hard = part(text, "Error of the norm on hard inputs")
    assert hard.count("inf !") == 5
    right = benchrecords.record([benchrecords.row(peers=TWO)], accuracy=[])
    assert "WRONG" not in shown(right)
    assert "!" not in shown(right)


def test_an_error_that_is_no_number_and_has_no_reason_is_left_out():
    row = benchrecords.row(peers=TWO)
    row["errors"]["numpy"] = None
    assert "2.3e-06" not in shown(benchrecords.record([row], accuracy=[]))


def test_sweeps_have_tables_of_their_own():
    text = shown(benchrecords.record())
    assert "66 KB" in part(text, "Against size")
    assert re.search(r" 8 .* ms ", part(text, "Against threads"))
    assert "cold" in part(text, "Warm and cold caches")
    assert "size_1024" not in text
    only = shown(benchrecords.record([benchrecords.row()], accuracy=[], bandwidth={}))
    for title in ("Against", "caches\n", "Error of the norm", "Bandwidth"):
        assert title not in only


def test_what_looks_like_markup_is_printed():
    row = benchrecords.row("[red]odd[/red]")
    assert "[red]odd[/red]" in shown(benchrecords.record([row]))


def test_an_interrupted_run_without_rows_says_so():
    text = shown(benchrecords.record([], accuracy=[], bandwidth={}, interrupted=True))
    assert "Interrupted" in text
    assert "Overview" not in text
    assert "Interrupted" in markdown.document(benchrecords.record([], accuracy=[], bandwidth={}, interrupted=True))


def test_markdown_tables_have_as_many_cells_in_every_line():
    text = markdown.document(benchrecords.record())
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(tables) > 10
    for lines in tables:
        assert len({line.count(" | ") for line in lines.splitlines()}) == 1
    assert "| resnet50 | norm, within limit | 4.26 ms | 1.05 | 1.8 | 3.8 ! |" in text
    assert "| PyTorch | 16.25 ms |" in text
    assert "- CuPy is not installed: `pip install cupy-cuda12x`" in text
    assert "- AMD EPYC, 2 cores" in text
    assert text.count("<details>") == text.count("</details>") == 1


def test_markdown_escapes_what_would_end_a_cell():
    assert "a\\|b" in markdown.document(benchrecords.record([benchrecords.row("a|b")]))


def test_many_peers_share_several_tables_out():
    peers = ("fastclip", "numpy", "scipy", "torch", "torch loop", "tensorflow", "tf.function", "optax", "optax donated")
    text = shown(benchrecords.record(peers=(*peers, "numba", "flower", "stranger_thing")))
    assert max(map(len, text.splitlines())) <= table.WIDTH
    assert "…" not in text
    overview = re.search(r"^Overview.*?^Details", text, re.DOTALL | re.MULTILINE)[0]
    assert overview.count("Overview, continued") == 2
    for word in ("NumPy", "SciPy", "loop", "Tensor", "function", "donated", "Numba", "Flower", "thing"):
        assert overview.count(word) == 1
    fastclip = [line.split()[:6] for line in overview.splitlines() if "resnet50" in line]
    assert len(fastclip) == 3
    assert fastclip[0] == fastclip[1] == fastclip[2]  # its time stands in each part


def test_whom_one_command_brings_are_named_together():
    absent = {"torch": "pip install torch", "optax": "pip install optax", "torch loop": "pip install torch"}
    text = shown(benchrecords.record(peers=TWO, missing=absent))
    assert "PyTorch, PyTorch loop are not installed: pip install torch" in text
    assert "Optax is not installed: pip install optax" in text


def test_answers_compared_by_their_bits_have_no_error():
    row = benchrecords.row(operation="value", peers=TWO, errors={})
    assert "e-" not in part(shown(benchrecords.record([row])), "Details")


def test_who_needs_more_than_pip_is_not_told_to_use_it():
    text = shown(benchrecords.record(missing={"cupy": "needs an NVIDIA GPU and its driver"}))
    assert "CuPy is left out: needs an NVIDIA GPU and its driver" in text
