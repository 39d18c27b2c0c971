# SPDX-License-Identifier: BSD-3-Clause
"""A report on the terminal."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import replace
from itertools import zip_longest
from typing import TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fastclip._bench.record import Record
from fastclip._bench.report.figures import machine, missing, warnings, wrongs
from fastclip._bench.report.formats import label
from fastclip._bench.report.layout import WRONG, Group, Section, sections

WIDTH = 100  # of what goes into a file or a pipe
GAP = 2  # between columns
_LONG = 8  # letters beyond which a heading is broken between its words
_BAD = re.compile(rf".* ?(WRONG|{re.escape(WRONG)}|SLOWER)$")


def console(file: TextIO | None = None) -> Console:
    """Return the terminal, or a file or pipe of a fixed width."""
    made = Console(file=file or sys.stdout, highlight=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = WIDTH
    return made


def _heading(text: str) -> str:
    """Break a long heading between its words."""
    return re.sub(r"(?<=[a-z]{3})(?=[A-Z])|[ _-]|(?<=\.)", "\n", text) if len(text) > _LONG else text


def _parts(section: Section, width: int) -> list[Section]:
    """Share the last columns out to several tables where one would be too wide."""
    columns = section.columns
    lines = [cells for group in section.groups for cells in group.rows]
    needed = [
        GAP + max(map(len, [*_heading(column).split("\n"), *(cells[i] for cells in lines)]))
        for i, column in enumerate(columns)
    ]
    first = GAP + max([len(section.first), *(len(head) for group in section.groups for head in group.heads)])
    fixed = list(range(section.kept))
    parts, room = [fixed[:]], width - first - sum(needed[: section.kept])
    left = room
    for i in range(section.kept, len(columns)):
        if needed[i] > left and len(parts[-1]) > len(fixed):
            parts.append(fixed[:])
            left = room
        parts[-1].append(i)
        left -= needed[i]
    return [_only(section, chosen, k) for k, chosen in enumerate(parts)]


def _only(section: Section, chosen: list[int], k: int) -> Section:
    texts = len(section.texts)
    groups = [Group(g.heads, [tuple(cells[i] for i in chosen) for cells in g.rows]) for g in section.groups]
    numbers = tuple(section.columns[i] for i in chosen if i >= texts)
    title = f"{section.title}, continued" if k else section.title
    return replace(section, title=title, numbers=numbers, groups=groups)


def _cell(text: str) -> Text:
    style = "bold" if text == label("fastclip") else "red" if _BAD.fullmatch(text) else ""
    return Text(text, style)


def table(section: Section) -> Table:
    """Lay out one table; the lines that name a group stand one below the other."""
    made = Table(title=section.title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left", pad_edge=False)
    made.title_style = "bold"
    made.add_column(section.first)
    for i, column in enumerate(section.columns):
        made.add_column(
            _heading(column) if section.kept else column,
            justify="left" if i < len(section.texts) else "right",
            vertical="bottom",
        )
    long = any(len(group.heads) > 1 or len(group.rows) > 1 for group in section.groups)
    for group in section.groups:
        blank = ("",) * len(section.columns)
        for head, cells in zip_longest(group.heads, group.rows):
            made.add_row(Text(head or ""), *map(_cell, cells or blank))
        if long:
            made.add_section()
    return made


def show_section(section: Section, to: Console) -> None:
    """Print one table and its note."""
    for part in _parts(section, to.width) if section.kept else [section]:
        to.print(table(part))
    if section.note:
        to.print(section.note, style="dim", markup=False)
    to.print()


def show(record: Record, to: Console) -> None:
    """Print a whole record: the machine, the tables, what is wrong, who is missing, and what to beware of."""
    for line in machine(record["environment"]):
        to.print(line, markup=False)
    to.print()
    for section in sections(record):
        show_section(section, to)
    for line in wrongs(record):
        to.print(f"WRONG {line}", style="red", markup=False)
    for line in missing(record):
        to.print(line, markup=False)
    for line in warnings(record):
        to.print(line, style="yellow", markup=False)
