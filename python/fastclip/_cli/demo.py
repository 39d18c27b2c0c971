# SPDX-License-Identifier: BSD-3-Clause
"""`fastclip demo`: the arguments of the demo, and the errors that a user can do something about."""

import argparse
import os
import sys
from pathlib import Path

from fastclip import _demo
from fastclip._demo.networks import NETWORKS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--network", choices=[*NETWORKS, "both"], default="both", help="what to train (default: both)")
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--steps", type=_positive, default=_demo.STEPS, help=f"steps of each run (default: {_demo.STEPS})"
    )
    length.add_argument(
        "--quick",
        dest="steps",
        action="store_const",
        const=_demo.QUICK_STEPS,
        help=f"the short form: {_demo.QUICK_STEPS} steps",
    )
    parser.add_argument("--seed", type=_natural, default=0, help="of weights, batches and held-out images (default: 0)")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("fastclip-demo.png"),
        metavar="FILE",
        help="the plot to write (default: ./fastclip-demo.png)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; return 1, with a line on stderr, if it cannot be run or its plot not be written."""
    if problem := _demo.missing() or _unwritable(arguments.output):
        print(f"fastclip demo: {problem}", file=sys.stderr)
        return 1
    networks = list(NETWORKS) if arguments.network == "both" else [arguments.network]
    _demo.demo(networks, arguments.steps, arguments.seed, arguments.output)
    return 0


def _unwritable(path: Path) -> str | None:
    """Return what is wrong with the path of the plot, if anything: better before the training than after."""
    if path.suffix.lower() != ".png":
        return f"--output is {path}; expected a file name ending in .png."
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"--output {path}: its folder cannot be made: {error.strerror}. Choose another."
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        return f"--output {path} is a folder or cannot be written. Choose another file."
    return None


def _positive(text: str) -> int:
    """Parse a number of steps."""
    return _at_least(1, text)


def _natural(text: str) -> int:
    """Parse a seed."""
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    """Parse an integer not below `least`."""
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise argparse.ArgumentTypeError(f"expected an integer of at least {least}, got {text!r}")
    return number
