# SPDX-License-Identifier: BSD-3-Clause
import argparse
import copy
import json
import signal
import subprocess
import sys

import benchrecords
import pytest

from fastclip import _bench, _cli
from fastclip._bench import command
from fastclip._bench.cases import WORKLOADS
from fastclip._bench.contestants import OPERATIONS
from fastclip._bench.peers import PEERS, missing
from fastclip._cli import bench

SHORT = ["--operations", "positional", "--peers", "numpy", "--rounds", "6", "--seconds", "0.01"]


@pytest.fixture
def stored(tmp_path):
    """The path of an earlier run."""
    path = tmp_path / "earlier.json"
    path.write_text(json.dumps(benchrecords.record()))
    return path


def test_a_run_prints_and_writes_what_is_asked_for(tmp_path, capsys):
    files = {"--json": tmp_path / "new" / "run.json", "--markdown": tmp_path / "run.md", "--plot": tmp_path / "plots"}
    argv = ["bench", "--workloads", "clip_10", *SHORT, *(str(part) for item in files.items() for part in item)]
    assert _cli.main(argv) == 0
    shown = capsys.readouterr()
    assert "clip_10" in shown.out
    assert "clip_10, positional" in shown.err
    assert {row["workload"] for row in json.loads(files["--json"].read_text())["rows"]} == {"clip_10"}
    assert "clip_10" in files["--markdown"].read_text()
    assert [path.name for path in files["--plot"].iterdir()] == ["bars-positional.png"]


def test_everything_that_can_be_chosen_is_listed(capsys):
    assert _cli.main(["bench", "--list"]) == 0
    shown = capsys.readouterr().out
    for name in (*WORKLOADS, *OPERATIONS, *PEERS, *_bench.SWEEPS):
        assert name in shown
    assert all(" ".join(how.split()[:2]) in shown for how in missing().values())


def test_an_earlier_run_is_shown_without_a_measurement(stored, capsys):
    assert _cli.main(["bench", "--load", str(stored)]) == 0
    shown = capsys.readouterr()
    assert "resnet50" in shown.out
    assert shown.err == ""


def test_a_comparison_tells_by_its_status(stored, tmp_path, capsys):
    argv = ["bench", "--load", str(stored), "--against"]
    assert _cli.main([*argv, str(stored)]) == 0
    assert "0 slower, 0 faster" in capsys.readouterr().out
    faster = copy.deepcopy(benchrecords.record())
    for row in faster["rows"]:
        row["seconds"]["fastclip"] = [seconds / 2 for seconds in row["seconds"]["fastclip"]]
    reference = tmp_path / "reference.json"
    reference.write_text(json.dumps(faster))
    assert _cli.main([*argv, str(reference)]) == 1
    assert "SLOWER" in capsys.readouterr().out


def test_a_comparison_of_nothing_is_no_success(stored, tmp_path, capsys):
    other = benchrecords.record([benchrecords.row("vit_b16")])
    reference = tmp_path / "reference.json"
    reference.write_text(json.dumps(other))
    assert _cli.main(["bench", "--load", str(stored), "--against", str(reference)]) == 2
    assert "no row of that run was measured in this one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--workloads", "resnet"], "--workloads resnet is unknown; expected tiny_many, rl_policy, "),
        (["--operations", "clips"], "--operations clips is unknown; expected within, clip, "),
        (["--sweeps", "sizes"], "--sweeps sizes is unknown; expected size, threads, cache."),
        (["--peers", "pytorch"], "--peers pytorch is unknown; expected fastclip, numpy, "),
        (["--peers", "cupy"], "--peers cupy can't run here: "),
        (["--rounds", "5"], "--rounds is 5; expected at least 6"),
        (["--seconds", "nan"], "--seconds is nan; expected a positive number."),
        (["--seed", "-1"], "--seed is -1; expected a natural number."),
        (["--workloads", "clip_10", "--operations", "rows"], "nothing is left to measure"),
        (["--against", "nowhere.json"], "nowhere.json cannot be read"),
        (["--load", "README.md"], "README.md is no JSON"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_measured(argv, complaint, capsys, monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)
    if "cupy" in argv and "cupy" not in missing():
        pytest.skip("CuPy runs here")
    assert _cli.main(["bench", *argv]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"fastclip bench: {complaint}")
    assert len(shown.err.splitlines()) == 1


@pytest.mark.parametrize("option", ["--json", "--markdown", "--plot"])
def test_a_place_that_cannot_be_written_is_named_first(tmp_path, option, capsys):
    (tmp_path / "file").write_text("")
    assert _cli.main(["bench", option, str(tmp_path / "file" / "x")]) == 2
    assert f"{option} {tmp_path / 'file' / 'x'}" in capsys.readouterr().err


def test_what_is_missing_is_named_with_the_remedy(monkeypatch, capsys):
    monkeypatch.setattr(_bench, "missing", lambda: "needs rich: pip install 'fastclip[bench]'")
    assert _cli.main(["bench", "--list"]) == 2
    assert capsys.readouterr().err == "fastclip bench: needs rich: pip install 'fastclip[bench]'\n"


def test_whom_a_quick_run_leaves_out_is_said(monkeypatch):
    monkeypatch.setattr(command, "installed", lambda: ["fastclip", "numpy", "optax"])
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    quick = command._orders(parser.parse_args(["--quick"]))
    assert quick.peers == ["fastclip", "numpy"]
    assert list(quick.left_out) == ["optax"]
    for argv in ([], ["--quick", "--peers", "optax"]):
        orders = command._orders(parser.parse_args(argv))
        assert "optax" in orders.peers
        assert not orders.left_out


def test_an_interrupt_prints_what_is_done(tmp_path):
    path = tmp_path / "run.json"
    what = ["--workloads", "tiny_many", "clip_10", "--operations", "within", "positional", "--peers", "numpy"]
    long = ["--rounds", "1000000", "--seconds", "2"]  # for each of two rows
    command = [sys.executable, "-m", "fastclip", "bench", *what, *long, "--json", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        for line in running.stderr:
            if "clip_10, positional" in line:
                break
        running.send_signal(signal.SIGINT)
        shown, said = running.communicate(timeout=120)
    assert running.returncode == 130, said
    record = json.loads(path.read_text())
    assert record["interrupted"]
    assert [(row["workload"], row["operation"]) for row in record["rows"]] == [("tiny_many", "within")]
    assert "tiny_many" in shown
    assert "Interrupted: this is what had been measured until then." in shown
