# SPDX-License-Identifier: BSD-3-Clause
"""`fastclip run` beside `python`: the script notices no difference but the functions that it calls."""

import re
import signal
import sys
import zipfile

import pytest
from scripts import PACKAGES, fastclip_run, python, script, write

from fastclip import _cli, _patch
from fastclip._cli import run

OURS = """
    import numpy as np, fastclip
    assert np.clip is fastclip.clip and np.linalg.norm is fastclip.norm
"""
# __main__ and what Python tells a script about itself
SHOW = """
    import json, os, sys
    seen = {name: globals().get(name) for name in ("__name__", "__file__", "__package__", "__doc__")}
    seen |= {"argv": sys.argv, "path": sys.path, "main": vars(sys.modules["__main__"]) is globals()}
    seen |= {"spec": __spec__ and __spec__.name, "builtins": type(__builtins__).__name__}
    seen |= {"loader": type(__loader__).__name__, "cwd": os.getcwd()}
    seen["names"] = sorted(name for name in globals() if not name.startswith("__"))
    print(json.dumps(seen))
"""


# ---- as Python would run it


@pytest.mark.parametrize("how", ["relative", "absolute", "link", "folder", "archive", "module", "package", "attached"])
def test_a_script_sees_what_it_sees_under_python(folder, how):
    path = write(folder / "sub" / "script.py", SHOW)
    write(folder / "sub" / "__main__.py", SHOW)
    write(folder / "sub" / "__init__.py", "import sys; print(sys.argv)")
    (folder / "link.py").symlink_to(path)
    with zipfile.ZipFile(folder / "archive.zip", "w") as archive:
        archive.write(folder / "sub" / "__main__.py", "__main__.py")
    words = {
        "relative": ["sub/script.py"],
        "absolute": [path],
        "link": ["link.py"],
        "folder": ["sub"],
        "archive": ["archive.zip"],
        "module": ["-m", "sub.script"],
        "package": ["-m", "sub"],
        "attached": ["-msub.script"],
    }[how]
    words += ["--report", "-m", "x", "--", "--patch", "y", ""]
    ours, theirs = fastclip_run(*words), python(*words)
    assert (ours.stderr, theirs.stderr) == ("", "")
    assert ours.stdout == theirs.stdout != ""


def test_the_command_itself_puts_no_folder_in_the_path(folder):
    (folder / "bin").mkdir()
    command = write(folder / "bin" / "fastclip-command", "from fastclip._cli import main\nmain()")
    path = write(folder / "sub" / "script.py", SHOW)
    assert python(command, "run", path).stdout == python(path).stdout != ""


def test_a_safe_path_stays_safe(folder):
    path = write(folder / "sub" / "script.py", SHOW)
    option = "-P" if sys.version_info >= (3, 11) else "-I"
    main = f"import sys; sys.path.append({PACKAGES!r}); from fastclip._cli import main; sys.argv[0] = ''; main()"
    ours = python(option, "-c", main, "run", path)
    assert str(folder / "sub") not in re.search(r'"path": (\[.*?\])', ours.stdout)[1]


ENDS = {
    "well": "print('done')",
    "a status": "import sys; sys.exit(3)",
    "a message": "import sys; sys.exit('no data')",
    "no status": "import sys; sys.exit()",
    "an exception": "def f():\n    raise ValueError('bad')\nf()",
    "a syntax error": "print('x'",
    "a broken pipe": "raise BrokenPipeError(32, 'Broken pipe')",
    "an interruption": "raise KeyboardInterrupt",
    "a signal": f"import os; os.kill(os.getpid(), {int(signal.SIGTERM)})",
    "at once": "import os; os._exit(5)",
    "not at all": "import no_such_module",
}


@pytest.mark.parametrize(
    ("how", "module"),
    [*((how, False) for how in ENDS), ("a status", True), ("an exception", True), ("an interruption", True)],
)
def test_a_script_ends_as_it_ends_under_python(folder, how, module):
    path = write(folder / "script.py", ENDS[how])
    words = ["-m", "script"] if module else [path]
    ours, theirs = fastclip_run(*words), python(*words)
    assert (ours.returncode, ours.stdout) == (theirs.returncode, theirs.stdout)
    assert ours.stderr.splitlines()[-2:] == theirs.stderr.splitlines()[-2:]
    if how == "an exception":
        assert f'File "{path}", line 2, in f' in ours.stderr


@pytest.mark.parametrize("words", [["-m", "no_such_module"], ["-m", "no_such.module"], ["folder"]])
def test_what_is_not_there_is_reported_as_by_python(folder, words):
    (folder / "folder").mkdir()
    ours, theirs = fastclip_run(*words), python(*words)
    assert (ours.returncode, ours.stderr, ours.stdout) == (theirs.returncode, theirs.stderr, theirs.stdout)


def test_futures_of_fastclip_are_not_the_scripts(folder):
    script(folder, "def f(x: int): pass\nassert f.__annotations__ == {'x': int}")


@pytest.mark.parametrize("module", [False, True], ids=["script", "module"])
def test_what_a_script_leaves_behind_finds_its_main(folder, module):
    path = write(
        folder / "script.py",
        """
        import atexit, pickle, sys, threading, time
        class Mine: pass
        def later():
            threading.main_thread().join()
            print(type(pickle.loads(pickle.dumps(Mine()))).__module__)
        threading.Thread(target=later).start()
        atexit.register(lambda: print(sys.modules["__main__"].Mine is Mine))
        """,
    )
    done = fastclip_run(*(["-m", "script"] if module else [path]))
    assert (done.stdout.split(), done.stderr) == (["__main__", "True"], "")


# ---- what is patched


def test_numpy_is_patched_and_what_a_script_does_not_import_is_not_imported(folder):
    script(folder, OURS + "    import sys\n    assert not {'torch', 'fastclip.torch'} & set(sys.modules)")


def test_torch_is_patched_when_it_is_imported(folder):
    done = script(
        folder,
        """
        import importlib.util
        assert importlib.util.find_spec("torch")
        from torch.nn.utils import clip_grad_norm_, clip_grad
        import torch, fastclip.torch
        assert clip_grad_norm_ is torch.nn.utils.clip_grad_norm_ is clip_grad.clip_grad_norm_
        assert clip_grad_norm_.__wrapped__ is fastclip.torch.clip_grad_norm_
        assert clip_grad.clip_grad_value_.__wrapped__ is fastclip.torch.clip_grad_value_
        weight = torch.nn.Parameter(torch.zeros(2))
        weight.grad = torch.tensor([3.0, 4.0])
        for _ in range(3):
            norm = clip_grad_norm_([weight], max_norm=1.0)
        torch.nn.utils.clip_grad.clip_grad_value_([weight], 0.5)
        print(weight.grad.tolist())
        """,
        "--report",
    )
    assert done.stdout == "[0.5, 0.5]\n"
    rows = {row.split()[0]: int(row.split()[1]) for row in done.stderr.splitlines()[2:]}
    assert rows == {"torch.nn.utils.clip_grad_norm_": 3, "torch.nn.utils.clip_grad_value_": 1}


def test_only_what_is_named_is_patched(folder):
    script(folder, "import numpy, fastclip\nassert numpy.clip is not fastclip.clip", "--patch", "torch")
    script(folder, OURS, "--patch=torch,numpy")


# ---- what is refused


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["nowhere.py"], "fastclip run: nowhere.py cannot be read: No such file or directory.\n"),
        (
            ["--patch", "numpy,pytorch", "x.py"],
            "argument --patch: 'pytorch' is unknown; expected one of: numpy, torch, flwr, optax, thinc\n",
        ),
        (
            ["--patch", "", "x.py"],
            "argument --patch: '' is unknown; expected one of: numpy, torch, flwr, optax, thinc\n",
        ),
        (["--patch", "numpy"], "one of the arguments -m script is required\n"),
        (["--rep", "x.py"], "unrecognized arguments: --rep\n"),
    ],
)
def test_what_cannot_be_run_is_said(folder, words, complaint):
    done = fastclip_run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(complaint)


def test_a_framework_that_is_not_installed_is_said(monkeypatch, capsys):
    monkeypatch.setattr(_patch, "installed", lambda name: name != "torch")
    with pytest.raises(SystemExit, match="2"):
        _cli.main(["run", "--patch", "numpy,torch", "script.py"])
    assert capsys.readouterr().err.endswith("argument --patch: torch is not installed: pip install torch\n")


@pytest.mark.parametrize(
    ("own", "rest"),
    [
        (["x.py"], ["-m", "y", "--report"]),
        (["--report", "x.py"], []),
        (["--patch", "torch", "--report", "x.py"], ["--patch", "numpy"]),
        (["--patch=torch", "x.py"], ["a"]),
        (["--report", "-m", "x"], ["-m", "y"]),
        (["-mx"], ["y"]),
        (["-h"], []),
        (["--patch"], []),
        (["-m"], []),
        ([], []),
    ],
)
def test_the_arguments_are_split_after_the_script(own, rest):
    assert run.split([*own, *rest]) == (own, rest)
