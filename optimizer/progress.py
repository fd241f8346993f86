"""What is shown while a run works: a live line on a terminal, plain lines elsewhere; all of it on stderr."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

from optimizer.budget import Meter
from optimizer.search import Progress
from optimizer.spelled import duration


class Spent(ProgressColumn):
    """Calls and tokens so far, as they are paid."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch

    def render(self, task: Task) -> Text:
        meter = self.watch.meter
        return Text(f"{meter.total.calls:,} calls  {meter.tokens / 1e6:.2f}M tokens" if meter else "")


class Watch:
    """Says lines, and follows the search. Use as a context manager, so that the terminal is left clean."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.meter: Meter | None = None
        self.started = time.monotonic()
        self.searching = self.started
        self.called = 0
        self.replayed = 0  # trials whose calls were all stored before the search began
        self.best = -1.0
        self.bar: Bar | None = None

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.rest()

    def say(self, text: str) -> None:
        """One line."""
        self.console.print(Text.assemble((self._clock(), "dim"), f"  {text}"), highlight=False, soft_wrap=True)

    def begin(self, trials: int) -> None:
        """The search starts."""
        self.searching = time.monotonic()
        self.called = self.meter.total.calls if self.meter else 0
        if self.console.is_terminal:
            columns = (SpinnerColumn(), TextColumn("trials"), BarColumn(24), MofNCompleteColumn(), Spent(self))
            self.bar = Bar(*columns, TextColumn("{task.fields[line]}"), console=self.console, transient=True)
            self.bar.add_task("trials", total=trials, line="")
            self.bar.start()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Work that no forecast of the search counts, neither its time nor its calls."""
        begun, called = time.monotonic(), self.meter.total.calls if self.meter else 0
        try:
            yield
        finally:
            self.searching += time.monotonic() - begun
            self.called += self.meter.total.calls - called if self.meter else 0

    def follow(self, progress: Progress) -> None:
        """After each generation: trials, best so far, calls bought and saved, tokens, time left."""
        if self.meter and self.meter.total.calls == self.called:
            self.replayed, self.searching = progress.done, time.monotonic()
        line = self.line(progress)
        best = progress.best.value if progress.best else 0.0
        spent = f"  {self.meter.tokens / 1e6:.2f}M tokens" if self.meter and not self.bar else ""
        if self.bar:
            self.bar.update(self.bar.task_ids[0], completed=progress.done, line=line)
        if best > self.best or not self.bar:
            params = progress.best.params if progress.best else {}
            self.best = max(best, self.best)
            shown = ", ".join(f"{name} {value}" for name, value in params.items())
            self.say(f"trial {progress.done}/{progress.trials}  {line}{spent}\n          best: {shown}")

    def line(self, progress: Progress) -> str:
        """The figures in one line."""
        best = f"{100 * progress.best.value:.1f}" if progress.best else "-"
        saved = 1 - progress.bought / max(progress.full, 1)
        return (
            f"best on dev {best}  rows bought {progress.bought}, saved by racing "
            f"{progress.full - progress.bought} ({saved:.0%}){self._left(progress)}"
        )

    def forecast(self, calls: int) -> str:
        """How long so many calls take at the pace of the search so far; nothing where it has made none."""
        return f", about {duration(calls * self.pace)} at the search's pace" if self.pace else ""

    @property
    def pace(self) -> float:
        """Seconds a call of the search takes; 0 where it has made none."""
        made = self.meter.total.calls - self.called if self.meter else 0
        return (time.monotonic() - self.searching) / made if made > 0 else 0.0

    def _left(self, progress: Progress) -> str:
        """Until the trials are done, or until the budget that ends the search before."""
        made = progress.done - self.replayed
        if not made:
            return ""
        left = {"": (time.monotonic() - self.searching) / made * (progress.trials - progress.done)}
        left |= self.meter.seconds_left(self.pace) if self.meter and self.pace else {}
        by = min(left, key=left.__getitem__)
        return f"  {max(left[by], 0) / 60:.1f} min left" + (f" ({by})" if by else "")

    def rest(self) -> None:
        """Take the live line away."""
        if self.bar:
            self.bar.stop()
            self.bar = None

    def _clock(self) -> str:
        seconds = int(time.monotonic() - self.started)
        return f"{seconds // 60:3d}:{seconds % 60:02d}"
