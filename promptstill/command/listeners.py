"""What a terminal shows of events: plain lines, or lines under a live bar. All of it goes to the console given."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.text import Text

from promptstill.events import Event, GenerationEnded, Message, StepEnded, StepProgress, StepStarted

EVERY_S = 20.0  # between two lines of one step


class LineListener:
    """A line for each message and each generation, and one now and then for a long step."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._began = self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """There is nothing to take away."""

    def __call__(self, event: Event) -> None:
        if isinstance(event, Message):
            self.say(event.text)
        elif isinstance(event, GenerationEnded):
            self.say(f"{event.count}  {generation_line(event)}{best_line(event)}")
        elif isinstance(event, StepStarted):
            self._last_line = time.monotonic()
        elif isinstance(event, StepProgress) and self._due(event):
            self.say(f"{event.name} {event.done}/{event.total}  {event.text}".rstrip())

    def say(self, text: str) -> None:
        """One line, behind the time since the start."""
        seconds = int(time.monotonic() - self._began)
        clock = f"{seconds // 60:3d}:{seconds % 60:02d}"
        self.console.print(Text.assemble((clock, "dim"), f"  {text}"), highlight=False, soft_wrap=True)

    def _due(self, event: StepProgress) -> bool:
        now = time.monotonic()
        due = event.done == event.total or now - self._last_line >= EVERY_S
        self._last_line = now if due else self._last_line
        return due


class BarListener:
    """A live bar for the step that runs, and lines above it. As a context manager it takes the bar away in the end."""

    def __init__(self, console: Console) -> None:
        self._lines = LineListener(console)
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            console=console,
            transient=True,
        )
        self._steps: dict[str, TaskID] = {}
        self._best = -1.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bars.stop()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Message):
            self._lines(event)
        elif isinstance(event, StepStarted):
            self._bars.start()
            self._steps[event.name] = self._bars.add_task(event.name, total=event.total, text="")
        elif isinstance(event, StepProgress):
            self._update(event.name, event.done, event.total, event.text)
        elif isinstance(event, StepEnded):
            self._end(event.name)
        else:
            self._generation(event)

    def _update(self, name: str, done: int, total: int | None, text: str) -> None:
        if name in self._steps:
            self._bars.update(self._steps[name], completed=done, total=total, text=text)

    def _end(self, name: str) -> None:
        if name in self._steps:
            self._bars.remove_task(self._steps.pop(name))
        if not self._steps:
            self._bars.stop()

    def _generation(self, event: GenerationEnded) -> None:
        """The bar has the figures; a line is printed where the best score has risen."""
        line = generation_line(event)
        self._update("trials", event.done, event.trials, line)
        if event.best is not None and event.best > self._best:
            self._best = event.best
            self._lines.say(f"{event.count}  {line}{best_line(event)}")


def terminal_listener(console: Console) -> LineListener | BarListener:
    """Bars on a terminal, plain lines elsewhere."""
    return BarListener(console) if console.is_terminal else LineListener(console)


def generation_line(event: GenerationEnded) -> str:
    """The figures of the search in one line."""
    best = f"{100 * event.best:.1f}" if event.best is not None else "-"
    saved = event.rows_in_full - event.rows_evaluated
    share = saved / max(event.rows_in_full, 1)
    left = "" if event.seconds_left is None else f"  {event.seconds_left / 60:.1f} min left"
    limit = f" ({event.limit})" if event.limit and left else ""
    return (
        f"best on dev {best}  {event.rows_evaluated:,} dev rows evaluated, {saved:,} saved by racing ({share:.0%})"
        f"{left}{limit}  {event.calls:,} calls, {event.tokens / 1e6:.2f}M tokens"
    )


def best_line(event: GenerationEnded) -> str:
    """The choices of the best trial, in a line of its own."""
    choices = ", ".join(f"{name} {value}" for name, value in event.choices.items())
    return f"\n          best: {choices}" if choices else ""
