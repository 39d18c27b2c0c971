# SPDX-License-Identifier: BSD-3-Clause
"""`fastclip info`: print `fastclip.show_config()`, and what `fastclip.patch` can replace, for a person to read."""

import argparse
from collections.abc import Iterator, Mapping, Sized
from importlib import metadata

import fastclip
from fastclip import _patch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: the command has no arguments."""


def run(arguments: argparse.Namespace) -> int:
    """Print one aligned line for each setting."""
    rows = list(_rows(fastclip.show_config() | {"patch": {name: _state(name) for name in _patch.FRAMEWORKS}}))
    width = max((len(label) for label, _ in rows), default=0)
    for label, value in rows:
        print(f"{label:<{width}}  {value}".rstrip())
    return 0


def _state(framework: str) -> str:
    """Say what there is of a framework, without importing it."""
    if not _patch.installed(framework):
        return "not installed"
    functions = {path.rpartition(":")[2] for path in _patch.FRAMEWORKS[framework]}
    packages = metadata.packages_distributions().get(framework, ())  # tensorflow is tensorflow-cpu's, too
    versions = "".join(f"{metadata.version(package)}: " for package in packages[:1])
    return f"{versions}{', '.join(sorted(functions))}"


def _rows(config: Mapping[str, object], indent: str = "") -> Iterator[tuple[str, str]]:
    """Yield the label and the value of each line; what a nested mapping holds is indented below its name."""
    for key, value in config.items():
        label = f"{indent}{str(key).replace('_', ' ')}"
        if isinstance(value, Mapping) and value:
            yield label, ""
            yield from _rows(value, indent + "  ")
        else:
            yield label, _text(value)


def _text(value: object) -> str:
    """Write one value as a person would."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or (isinstance(value, Sized) and not len(value)):
        return "-"
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(map(str, value))
    return str(value)
