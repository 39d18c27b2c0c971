# SPDX-License-Identifier: BSD-3-Clause
"""`fastclip run`: a script as it is, with fastclip's functions in the place of the frameworks' own."""

from __future__ import annotations

import argparse
import atexit
import builtins
import functools
import os
import pkgutil
import runpy
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib.machinery import SourceFileLoader
from types import ModuleType
from typing import Any

from fastclip import _patch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that stand before the script's own."""
    parser.allow_abbrev = False  # `split` has to know which options take a word
    parser.usage = (
        "fastclip run [--patch NAMES] [--report] script.py [argument ...]\n"
        "       fastclip run [--patch NAMES] [--report] -m module [argument ...]"
    )
    parser.add_argument(
        "--patch",
        type=_names,
        default=list(_patch.FRAMEWORKS),
        metavar="NAMES",
        help=f"these of {','.join(_patch.FRAMEWORKS)}, when the script imports them (default: all)",
    )
    parser.add_argument("--report", action="store_true", help="print how often and how long clipping ran, on stderr")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("-m", dest="module", metavar="module", help="a module to run as `python -m` does")
    what.add_argument("script", nargs="?", help="the script; what follows it is the script's own")


def split(words: list[str]) -> tuple[list[str], list[str]]:
    """Split the words after `run` behind the script or the module: what follows is the script's own."""
    end = 0
    while end < len(words):
        word = words[end]
        end += 2 if word in ("--patch", "-m") else 1
        if word.startswith("-m") or not word.startswith("-"):
            break
    return words[:end], words[end:]


def run(arguments: argparse.Namespace) -> int:
    """Run the script; return 2 if it cannot be read. Its exceptions, and with them its exit, go through."""
    script = arguments.script
    holds_main = script is not None and pkgutil.get_importer(script) is not None  # a folder or an archive
    execute: Callable[[], None]
    if script is None:
        folder, execute = os.getcwd(), functools.partial(_run_module, arguments.module, True)
    elif holds_main:
        folder, execute = os.path.join(os.getcwd(), script), functools.partial(_run_module, "__main__", False)
    else:
        loader = SourceFileLoader("__main__", os.path.abspath(script))
        try:
            source = loader.get_data(loader.path)
        except OSError as error:
            print(f"fastclip run: {script} cannot be read: {error.strerror}.", file=sys.stderr)
            return 2
        folder, execute = os.path.dirname(os.path.realpath(script)), functools.partial(_run_source, loader, source)
    sys.argv = ["-m" if script is None else script, *arguments.rest]
    safe = getattr(sys.flags, "safe_path", sys.flags.isolated)  # then Python has put no folder there, and puts none
    sys.path[: not safe] = [folder] if holds_main or not safe else []
    report = _Report() if arguments.report else None
    _patch.patch_on_import(arguments.patch, report.counted if report else lambda _, function: function)
    if report:
        atexit.register(report.show)  # after the script's traceback, its other threads and its own exit handlers
    # Not as runpy's public functions do it, which take `__main__` away from what a script leaves behind.
    sys.modules["__main__"] = main = ModuleType("__main__")
    vars(main)["__builtins__"] = builtins
    execute()
    return 0


def _run_module(name: str, alter_argv: bool) -> None:
    """Run a module in `__main__` by what Python itself calls for `python -m`, a folder or an archive."""
    runpy._run_module_as_main(name, alter_argv)  # type: ignore[attr-defined]


def _run_source(loader: SourceFileLoader, source: bytes) -> None:
    """Run a script in `__main__`."""
    scope = vars(sys.modules["__main__"])
    scope.update(__file__=loader.path, __loader__=loader)
    exec(loader.source_to_code(source, loader.path), scope)


def _names(text: str) -> list[str]:
    """Parse the names of frameworks."""
    names = text.split(",")
    for name in names:
        if name not in _patch.FRAMEWORKS:
            raise argparse.ArgumentTypeError(f"{name!r} is unknown; expected one of: {', '.join(_patch.FRAMEWORKS)}")
        if not _patch.installed(name):
            raise argparse.ArgumentTypeError(f"{name} is not installed: pip install {name}")
    return names


class _Report:
    """How often and how long the functions ran that a script called, on the host's clock."""

    def __init__(self) -> None:
        self._stream = sys.stderr  # whatever the script makes of it
        self._process = os.getpid()
        self._start = time.perf_counter()
        self._lock = threading.Lock()
        self._inside = threading.local()
        self._rows: dict[str, tuple[int, float]] = {}

    def counted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a function so that its calls are counted; not those out of another that is counted."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if getattr(self._inside, "counted", False):
                return function(*args, **kwargs)
            self._inside.counted = True
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                seconds = time.perf_counter() - start
                self._inside.counted = False
                with self._lock:
                    calls, total = self._rows.get(name, (0, 0.0))
                    self._rows[name] = calls + 1, total + seconds

        return call

    def show(self) -> None:
        """Print the table."""
        if os.getpid() != self._process:  # a forked child, whose parent reports
            return
        wall = time.perf_counter() - self._start
        print("\n".join(self._lines(wall)), file=self._stream)

    def _lines(self, wall: float) -> Iterator[str]:
        if not self._rows:
            yield f"fastclip run: {_duration(wall)}, and no function of fastclip's was called"
            return
        share = sum(total for _, total in self._rows.values()) / wall
        yield f"fastclip run: {_duration(wall)}, of which {share:.1%} in fastclip"
        width = max(map(len, self._rows))
        yield f"{'':{width}}  {'calls':>9}  {'total':>9}  {'mean':>9}  {'share':>6}"
        for name, (calls, total) in sorted(self._rows.items(), key=lambda row: -row[1][1]):
            mean = _duration(total / calls)
            yield f"{name:<{width}}  {calls:>9}  {_duration(total):>9}  {mean:>9}  {total / wall:>6.1%}"


def _duration(seconds: float) -> str:
    """Write a duration to three digits or so."""
    unit, size = next(((unit, size) for unit, size in (("s", 1.0), ("ms", 1e-3)) if seconds >= size), ("us", 1e-6))
    value = seconds / size
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {unit}"
