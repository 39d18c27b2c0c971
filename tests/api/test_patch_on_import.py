# SPDX-License-Identifier: BSD-3-Clause
"""The names that `fastclip.patch` takes, a framework of its own with its row, and patches that wait for the import."""

import importlib
import importlib.util
import subprocess
import sys
import zipfile

import numpy as np
import pytest

import fastclip
from fastclip import _patch

TOY = {
    "toyclip/__init__.py": "def clip(x): return 'theirs'\nfrom toyclip import ops\nimport toyhelper\nlate = 1",
    "toyhelper.py": "",
    "toyclip/ops.py": """
from toyclip import clip as cut
class Ops:
    def clip(self): return 'theirs'
class Fast(Ops): pass
""",
    "toydrop.py": """
import toyclip
assert toyclip.late
stock = [toyclip.clip]
def clip(x): return 'ours'
def method(self): return 'ours'
""",
}


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A framework that is not imported yet, and its row."""
    for path, text in TOY.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    return _known(tmp_path, monkeypatch)


@pytest.fixture
def zipped(tmp_path, monkeypatch):
    """The same in an archive, whose modules share one loader."""
    with zipfile.ZipFile(tmp_path / "toy.zip", "w") as archive:
        for path, text in TOY.items():
            archive.writestr(path, text)
    return _known(tmp_path / "toy.zip", monkeypatch)


def _known(path, monkeypatch):
    monkeypatch.syspath_prepend(path)
    for name in ("toyclip", "toyclip.ops", "toyhelper", "toydrop"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    row = {"toyclip:clip": "toydrop:clip", "toyclip.ops:Ops.clip": "toydrop:method", "toyclip:absent": "toydrop:clip"}
    monkeypatch.setitem(_patch.FRAMEWORKS, "toyclip", row)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    return path


# ---- names


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (
            ["numpy", "pytorch"],
            ValueError,
            rf"^patch: names\[1\] is 'pytorch'; expected one of: {', '.join(_patch.FRAMEWORKS)}\.$",
        ),
        ([np], TypeError, r"^patch: names\[0\] is of type module; expected a name such as 'numpy'\.$"),
        ([["numpy"]], TypeError, r"^patch: names\[0\] is \['numpy'\] \(list\); expected a name"),
        (["absentclip"], ModuleNotFoundError, r"^patch: absentclip is not installed: pip install absentclip$"),
        (["numpy", "hollow"], ModuleNotFoundError, r"^patch: hollow is not installed: pip install hollow$"),
    ],
)
def test_a_wrong_name_changes_nothing(names, error, message, monkeypatch, tmp_path):
    (tmp_path / "hollow").mkdir()  # a folder of data beside the script
    monkeypatch.syspath_prepend(tmp_path)
    if issubclass(error, ImportError):
        monkeypatch.setitem(_patch.FRAMEWORKS, names[-1], {f"{names[-1]}:clip": "fastclip:clip"})
    with pytest.raises(error, match=message):
        fastclip.patch(*names)
    assert np.clip is not fastclip.clip


def test_no_name_means_what_is_installed(toy, monkeypatch):
    monkeypatch.setitem(_patch.FRAMEWORKS, "absentclip", {"absentclip:clip": "fastclip:clip"})
    monkeypatch.setitem(_patch.FRAMEWORKS, "blocked", {"blocked:clip": "fastclip:clip"})
    monkeypatch.setitem(sys.modules, "blocked", None)
    everything = [name for name in _patch.FRAMEWORKS if name not in ("absentclip", "blocked")]
    assert everything[-1] == "toyclip"
    with fastclip.patch() as patch:
        assert repr(patch).startswith(f"<fastclip.patch({', '.join(map(repr, everything))}), in force")
        assert sys.modules["toyclip"].clip(0) == "ours"


def test_a_row_is_all_that_a_framework_needs(toy):
    patch = fastclip.patch("toyclip")
    toyclip = sys.modules["toyclip"]
    assert toyclip.clip(0) == toyclip.ops.cut(0) == "ours"
    assert toyclip.ops.Fast().clip() == "ours"
    assert not hasattr(toyclip, "absent")
    assert sys.modules["toydrop"].stock[0](0) == "theirs"
    patch.undo()
    assert toyclip.clip(0) == toyclip.ops.cut(0) == toyclip.ops.Fast().clip() == "theirs"


# ---- patches that wait for the import


def on_import(name):
    _patch.patch_on_import([name], lambda _, function: function)


@pytest.fixture
def undo():
    """Undo what waited for an import."""
    yield
    for name in list(_patch._swapped):
        _patch._swapped.pop(name).restore()


@pytest.mark.parametrize("where", ["toy", "zipped"])
def test_a_framework_is_patched_when_its_import_is_complete(where, request, undo):
    request.getfixturevalue(where)
    on_import("toyclip")
    assert "toyclip" not in sys.modules
    assert importlib.util.find_spec("toyclip").origin  # who asks whether it is there gets an answer and changes nothing
    assert "toydrop" not in sys.modules
    toyclip = importlib.import_module("toyclip")
    assert toyclip.clip(0) == toyclip.ops.cut(0) == toyclip.ops.Fast().clip() == "ours"
    assert type(toyclip.__loader__) is type(toyclip.ops.__loader__)
    assert "exec_module" not in vars(toyclip.__loader__)
    assert toyclip.__loader__.get_source("toyclip") == TOY["toyclip/__init__.py"]
    importlib.reload(toyclip)
    assert toyclip.clip(0) == "ours"


def test_a_framework_that_is_there_is_patched_at_once(undo):
    on_import("numpy")
    assert np.clip is fastclip.clip


def test_an_import_that_fails_is_patched_the_next_time(toy, undo):
    (toy / "toyclip" / "__init__.py").write_text("1 / 0")
    on_import("toyclip")
    with pytest.raises(ZeroDivisionError):
        importlib.import_module("toyclip")
    (toy / "toyclip" / "__init__.py").write_text(TOY["toyclip/__init__.py"])
    importlib.invalidate_caches()
    assert importlib.import_module("toyclip").clip(0) == "ours"


def test_what_cannot_be_patched_is_imported_and_said(toy):
    (toy / "toydrop.py").write_text("raise ImportError('too old')")
    on_import("toyclip")
    with pytest.warns(RuntimeWarning, match=r"^fastclip: toyclip is not patched: ImportError\('too old'\)"):
        toyclip = importlib.import_module("toyclip")
    assert toyclip.clip(0) == "theirs"


def test_a_folder_of_that_name_is_let_alone(toy, tmp_path, monkeypatch):
    (tmp_path / "hollow").mkdir()
    monkeypatch.setitem(_patch.FRAMEWORKS, "hollow", {"hollow.ops:clip": "toydrop:clip"})
    monkeypatch.delitem(sys.modules, "hollow", raising=False)
    on_import("hollow")
    assert importlib.import_module("hollow").__path__
    monkeypatch.delitem(sys.modules, "hollow")


def test_numpy_can_import_what_it_imports_late():
    code = "import fastclip; fastclip.patch('numpy'); import numpy.ma as ma; print(ma.clip(ma.array([3]), 0, 1))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[1]\n", "")
