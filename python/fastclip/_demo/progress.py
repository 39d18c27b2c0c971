# SPDX-License-Identifier: BSD-3-Clause
"""A progress bar for each run."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from fastclip._demo.train import Run


class Bars:
    """Show how far each run has come, and its loss."""

    def __init__(self, console: Console, steps: int) -> None:
        """Start without bars; a run gets its own at its first step."""
        self._steps = steps
        self._tasks: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            console=console,
        )

    def __enter__(self) -> "Bars":
        """Begin to draw."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Draw a last time and give the terminal back."""
        self._progress.stop()

    def watch(self, run: Run) -> None:
        """Advance the bar of a run by the step that it has just done."""
        state = f"loss {run.losses[-1]:.3g}" if run.stopped_at is None else "no longer finite"
        if run.name not in self._tasks:
            self._tasks[run.name] = self._progress.add_task(run.name, total=self._steps, state=state)
        self._progress.update(self._tasks[run.name], advance=1, state=state)
