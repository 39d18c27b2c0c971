# SPDX-License-Identifier: BSD-3-Clause
"""The plots of a record: bars for each workload, time against size, error of the norm, speed against threads."""

from __future__ import annotations

from pathlib import Path

from fastclip._bench.record import Record
from fastclip._bench.report.plots import bars, errors, sizes, threads
from fastclip._bench.report.plots.style import save


def write(record: Record, folder: Path) -> list[Path]:
    """Write a PNG of each plot that the record has data for, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for module in (bars, sizes, errors, threads):
        for name, figure in module.figures(record):
            written.append(folder / f"{name}.png")
            save(figure, written[-1])
    return written
