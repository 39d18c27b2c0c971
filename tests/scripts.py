# SPDX-License-Identifier: BSD-3-Clause
"""Scripts, run by Python and by `fastclip run`."""

import subprocess
import sys
import textwrap
from pathlib import Path

import fastclip

PACKAGES = str(Path(fastclip.__file__).parents[1])


def write(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return str(path)


def python(*words):
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=60, check=False)


def fastclip_run(*words):
    return python("-m", "fastclip", "run", *words)


def script(folder, text, *options, arguments=()):
    """Run a script; it must end well."""
    done = fastclip_run(*options, write(folder / "script.py", text), *arguments)
    assert done.returncode == 0, done.stderr
    return done
