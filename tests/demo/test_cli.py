# SPDX-License-Identifier: BSD-3-Clause
import subprocess
import sys

import pytest

import fastclip
from fastclip import _cli, _demo, _patch


def test_info_prints_each_setting_in_aligned_lines(monkeypatch, capsys):
    config = {
        "backend": "native",
        "threads": {"pool": 2, "pinned": False},
        "isas": ("avx2", "baseline"),
        "note": "",
    }
    monkeypatch.setattr(fastclip, "show_config", lambda: config)
    rows = {
        "json": {"json:Encoder.dumps": "ours:a", "json:loads": "ours:b"},
        "absentclip": {"absentclip:clip": "ours:c"},
    }
    monkeypatch.setattr(_patch, "FRAMEWORKS", rows)
    assert _cli.main(["info"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "backend       native",
        "threads",
        "  pool        2",
        "  pinned      no",
        "isas          avx2, baseline",
        "note          -",
        "patch",
        "  json        Encoder.dumps, loads",
        "  absentclip  not installed",
    ]


def test_info_needs_no_extra():
    script = (
        "import sys; from fastclip._cli import main; status = main(['info']);"
        "sys.exit(status or any(name in sys.modules for name in ('rich', 'matplotlib', 'sklearn')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for key in fastclip.show_config():
        assert str(key).replace("_", " ") in done.stdout


def test_python_m_fastclip_is_the_command():
    done = subprocess.run([sys.executable, "-m", "fastclip", "info"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("argv", [["--help"], ["info", "--help"], ["demo", "--help"], ["--version"]])
def test_help_and_version(argv, capsys):
    with pytest.raises(SystemExit) as stopped:
        _cli.main(argv)
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    if argv == ["--help"]:
        assert all(name in printed and row.help in printed for name, row in _cli.COMMANDS.items())
    if argv == ["--version"]:
        assert printed == f"fastclip {fastclip.__version__}\n"


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        ([], "COMMAND"),
        (["clip"], "'clip'"),
        (["info", "now"], "now"),
        (["demo", "--network", "gru"], "'gru'"),
        (["demo", "--steps", "0"], "expected an integer of at least 1, got '0'"),
        (["demo", "--steps", "ten"], "expected an integer of at least 1, got 'ten'"),
        (["demo", "--seed", "-1"], "expected an integer of at least 0, got '-1'"),
        (["demo", "--quick", "--steps", "5"], "not allowed with"),
    ],
)
def test_bad_arguments_are_named(argv, complaint, capsys):
    with pytest.raises(SystemExit) as stopped:
        _cli.main(argv)
    assert stopped.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("package", ["sklearn", "matplotlib", "rich"])
def test_demo_without_its_extra_says_what_to_install(package, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(_demo, "demo", lambda *args: pytest.fail("began to train"))
    assert _cli.main(["demo"]) == 1
    complaint = capsys.readouterr().err
    assert _demo.PACKAGES[package] in complaint
    assert 'pip install "fastclip[demo]"' in complaint


@pytest.mark.parametrize("name", ["plot.jpg", "folder.png", "file/plot.png"])
def test_a_plot_that_cannot_be_written_is_refused_before_the_training(name, tmp_path, monkeypatch, capsys):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(_demo, "missing", lambda: None)
    monkeypatch.setattr(_demo, "demo", lambda *args: pytest.fail("began to train"))
    assert _cli.main(["demo", "--output", str(tmp_path / name)]) == 1
    assert name in capsys.readouterr().err


def test_demo_passes_its_arguments_on(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(_demo, "missing", lambda: None)
    monkeypatch.setattr(_demo, "demo", lambda *args: calls.append(args))
    plot = tmp_path / "new" / "plot.png"
    assert _cli.main(["demo", "--quick", "--seed", "3", "--output", str(plot)]) == 0
    assert _cli.main(["demo", "--network", "lstm", "--steps", "7", "--output", str(plot)]) == 0
    assert calls == [(["rnn", "lstm"], _demo.QUICK_STEPS, 3, plot), (["lstm"], 7, 0, plot)]


def test_demo_says_so_if_nothing_was_learned(tmp_path, capsys):
    plot = tmp_path / "plot.png"
    assert _cli.main(["demo", "--network", "rnn", "--steps", "2", "--output", str(plot)]) == 0
    assert "Not as expected: " in capsys.readouterr().out
    assert plot.stat().st_size > 0
