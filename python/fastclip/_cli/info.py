# SPDX-License-Identifier: BSD-3-Clause
"""`fastclip info`: print `fastclip.show_config()`, and what `fastclip.patch` replaces, for a person to read."""

import argparse
from collections.abc import Iterator, Mapping, Sized

import fastclip
from fastclip import _patch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: the command has no arguments."""


def run(arguments: argparse.Namespace) -> int:
    """Print one aligned line for each setting."""
    rows = list(_rows(fastclip.show_config() | {"patches": dict(_patches())}))
    width = max((len(label) for label, _ in rows), default=0)
    for label, value in rows:
        print(f"{label:<{width}}  {value}".rstrip())
    return 0


def _patches() -> Iterator[tuple[str, list[str] | str]]:
    """Yield each framework that can be patched, and its functions that are replaced."""
    for framework, functions in _patch.FRAMEWORKS.items():
        names = sorted({name.rpartition(":")[2] for name in functions})
        yield framework, names if _patch.installed(framework) else "not installed"


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
