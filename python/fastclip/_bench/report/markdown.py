# SPDX-License-Identifier: BSD-3-Clause
"""A report as Markdown, fit for an issue or a page of documentation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fastclip._bench.record import Record
from fastclip._bench.report.figures import machine, missing, warnings, wrongs
from fastclip._bench.report.layout import Section, sections


def rows(columns: Iterable[str], lines: Iterable[Iterable[str]], numbers: int = 0) -> str:
    """Write a table; its last columns, so many of them, stand to the right."""
    heads = list(columns)
    rule = ["---"] * (len(heads) - numbers) + ["--:"] * numbers
    cells = (heads, rule, *([cell.replace("|", "\\|") for cell in line] for line in lines))
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def _tables(section: Section) -> Iterator[str]:
    if section.apart:
        for group in section.groups:
            head, *more = group.heads
            yield f"**{head}**: {'; '.join(more)}\n"
            yield rows(section.columns, group.rows, len(section.numbers))
        return
    lines = [(", ".join(group.heads), *cells) for group in section.groups for cells in group.rows]
    yield rows((section.first, *section.columns), lines, len(section.numbers))


def tables(section: Section) -> str:
    """Write one section; tables apart are folded away."""
    parts = [f"### {section.title}\n", *([section.note + "\n"] if section.note else []), *_tables(section)]
    if section.apart:
        parts[1:] = ["<details><summary>Every peer, with intervals and errors</summary>\n", *parts[1:], "</details>\n"]
    return "\n".join(parts)


def bullets(lines: Iterable[str]) -> str:
    """Write a list."""
    return "".join(f"- {line}\n" for line in lines)


def remarks(record: Record) -> str:
    """Write what is wrong, who is missing, and what to beware of."""
    wrong = [f"**WRONG**: {line}" for line in wrongs(record)]
    return bullets([*wrong, *missing(record, "`"), *warnings(record)])


def body(record: Record) -> str:
    """Write a whole record, but for a heading."""
    parts = [
        bullets(machine(record["environment"])),
        *(tables(section) for section in sections(record)),
        remarks(record),
    ]
    return "\n".join(part for part in parts if part)


def document(record: Record) -> str:
    """Write a whole record."""
    return f"## fastclip bench\n\n{body(record)}"
