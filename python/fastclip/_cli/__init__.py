# SPDX-License-Identifier: BSD-3-Clause
"""The command `fastclip`."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import fastclip
from fastclip._cli import bench, demo, info, run


class Command(NamedTuple):
    """Hold what the command line knows of one subcommand."""

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    """Do it and return the exit status."""


COMMANDS = {
    "info": Command("show how fastclip is set up here", info.add_arguments, info.run),
    "bench": Command("compare with other libraries and with the memory's limit", bench.add_arguments, bench.run),
    "demo": Command("train recurrent networks with and without clipping", demo.add_arguments, demo.run),
    "run": Command("run a script, its clipping done by fastclip", run.add_arguments, run.run),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(prog="fastclip", description="Clip gradients, fast and exactly.")
    parser.add_argument("--version", action="version", version=f"fastclip {fastclip.__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        command.add_arguments(subparsers.add_parser(name, help=command.help, description=f"{command.help}."))
    words = list(sys.argv[1:] if argv is None else argv)
    own, rest = run.split(words[1:]) if words[:1] == ["run"] else (words[1:], [])
    arguments = parser.parse_args([*words[:1], *own], argparse.Namespace(rest=rest))
    if arguments.command == "run":
        return run.run(arguments)  # what it raises is the script's
    try:
        return COMMANDS[arguments.command].run(arguments)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130  # what a shell reports for an interrupted command
