"""Displays of progress: a bar on a terminal, lines of text elsewhere."""

from __future__ import annotations

from typing import Protocol

LINES = 10


class Display(Protocol):
    """A display of progress."""

    def show(self, done: int, total: int, speed: float, episode_return: float | None) -> None:
        """Update the display."""

    def close(self) -> None:
        """Restore the terminal. Idempotent."""


class TerminalBar:
    """rich's progress bar without its refresh thread, so that Ctrl-C leaves no half-drawn line."""

    def __init__(self, show_metrics: bool) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        columns = [BarColumn(bar_width=None), TextColumn("{task.fields[steps]}", style="bold")]
        if show_metrics:
            columns += [TextColumn("{task.fields[metrics]}", style="cyan")]
        columns += [TextColumn("ETA {task.fields[eta]}")]
        self._progress = Progress(*columns, auto_refresh=False, expand=True)
        self._task = self._progress.add_task("", total=1, steps="", metrics="", eta="-:--:--")
        self._progress.start()
        self._closed = False

    def show(self, done: int, total: int, speed: float, episode_return: float | None) -> None:
        """Redraw the bar."""
        metrics = f"{speed:,.0f} steps/s" + ("" if episode_return is None else f"  return {episode_return:,.1f}")
        self._progress.update(
            self._task,
            completed=min(done, total),
            total=total,
            steps=f"{done:,}/{total:,}",
            metrics=metrics,
            eta=remaining_time(done, total, speed),
            refresh=True,
        )

    def close(self) -> None:
        """Stop drawing and show the cursor again."""
        if not self._closed:
            self._closed = True
            self._progress.stop()


class PlainLines:
    """A line at each tenth of training, for files and pipes."""

    def __init__(self, show_metrics: bool) -> None:
        self._show_metrics = show_metrics
        self._printed: int | None = None

    def show(self, done: int, total: int, speed: float, episode_return: float | None) -> None:
        """Print a line if the next tenth is reached."""
        tenth = min(done, total) * LINES // max(total, 1)
        if self._printed is None:
            self._printed = tenth  # no line at the start
        if tenth <= self._printed:
            return
        self._printed = tenth
        parts = [f"{done:,}/{total:,} steps"]
        if self._show_metrics:
            parts.append(f"{speed:,.0f} steps/s")
            if episode_return is not None:
                parts.append(f"return {episode_return:,.1f}")
        print("  ".join([*parts, f"ETA {remaining_time(done, total, speed)}"]), flush=True)

    def close(self) -> None:
        """Nothing to restore."""


def remaining_time(done: int, total: int, speed: float) -> str:
    """The time left as ``h:mm:ss``."""
    if speed <= 0:
        return "-:--:--"
    minutes, seconds = divmod(round(max(total - done, 0) / speed), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
