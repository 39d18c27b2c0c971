# SPDX-License-Identifier: BSD-3-Clause
"""`fastclip bench`: the arguments of the benchmark, and the errors that a user can do something about."""

import argparse
import os
import sys
from pathlib import Path

from fastclip import _bench


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--list", action="store_true", help="list workloads, operations, sweeps and peers, and stop")
    parser.add_argument("--quick", action="store_true", help="a few workloads and rounds, in less than a minute")
    what = parser.add_argument_group("what is measured (default: everything)")
    what.add_argument("--workloads", nargs="*", metavar="NAME", help="named workloads; none for sweeps alone")
    what.add_argument("--operations", nargs="+", metavar="NAME", help="these operations on them")
    what.add_argument("--sweeps", nargs="*", metavar="NAME", help=f"among {', '.join(_bench.SWEEPS)}; none for none")
    what.add_argument("--peers", nargs="+", metavar="NAME", help="these of the installed peers; fastclip always is one")
    what.add_argument("--seed", type=int, default=0, help="of the data (default: 0)")
    long = parser.add_argument_group("for how long")
    long.add_argument("--rounds", type=int, metavar="N", help=f"of each row (default: {_bench.ROUNDS})")
    long.add_argument(
        "--seconds",
        type=float,
        metavar="S",
        help=f"for each row, after which fewer rounds are enough (default: {_bench.SECONDS:g})",
    )
    output = parser.add_argument_group("what becomes of it, besides the table")
    output.add_argument("--json", type=Path, metavar="FILE", help="write every sample and the environment")
    output.add_argument("--markdown", type=Path, metavar="FILE", help="write the table for an issue")
    output.add_argument("--plot", type=Path, metavar="DIR", help="write plots")
    output.add_argument(
        "--against", type=Path, metavar="REF.json", help="compare with an earlier run; status 1 if fastclip got slower"
    )
    output.add_argument("--load", type=Path, metavar="FILE.json", help="measure nothing: show an earlier run")


def run(arguments: argparse.Namespace) -> int:
    """Run the benchmark; return 1 if something was slower than the reference, or with a line on stderr 2."""
    if problem := _bench.missing() or _unwritable(arguments):
        print(f"fastclip bench: {problem}", file=sys.stderr)
        return 2
    from fastclip._bench import command  # rich and matplotlib are there

    try:
        return command.run(arguments)
    except command.UsageError as error:
        print(f"fastclip bench: {error}", file=sys.stderr)
        return 2


def _unwritable(arguments: argparse.Namespace) -> str | None:
    """Return what is wrong with a path to write to, if anything: better before the measurement than after."""
    for option in ("json", "markdown", "plot"):
        path: Path | None = getattr(arguments, option)
        if path is None:
            continue
        folder = path if option == "plot" else path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            return f"--{option} {path}: its folder cannot be made: {error.strerror}. Choose another."
        if (option != "plot" and path.is_dir()) or not os.access(path if path.exists() else folder, os.W_OK):
            return f"--{option} {path} cannot be written. Choose another."
    return None
