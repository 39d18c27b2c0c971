# SPDX-License-Identifier: BSD-3-Clause
"""How far a run has come: a bar on a terminal, a line for each step elsewhere."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Bar:
    """Draw the bar."""

    def __init__(self, console: Console) -> None:
        """Draw on a console, or print lines where it is no terminal."""
        self._console = console
        self._steps = self._begun = 0
        self._progress = Progress(
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=None)

    def __enter__(self) -> Bar:
        """Begin to draw."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar away and give the terminal back."""
        self._progress.stop()

    def begin(self, steps: int) -> None:
        """Say how many steps there are."""
        self._steps = steps
        self._progress.update(self._task, total=steps)

    def next(self, what: str) -> None:
        """Begin with the next step."""
        self._progress.update(self._task, completed=self._begun, description=what)
        self._begun += 1
        if not self._console.is_terminal:
            self._console.print(f"[{self._begun}/{self._steps}] {what}", markup=False)
