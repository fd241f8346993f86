"""What is shown while a distillation works: a live bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn
from rich.progress import Progress as Bars

from distill.job import Progress
from optimizer.progress import Watch
from optimizer.spelled import duration

EVERY_S = 20.0


class Ticker:
    """Follows one long step, `done` of `total`."""

    def __init__(self, watch: Watch, name: str) -> None:
        self.watch, self.name = watch, name
        self.bars: Bars | None = None
        self.told = self.begun = time.monotonic()
        self.first: int | None = None

    def tick(self, done: int, total: int, line: str = "") -> None:
        """Show where it stands, by `line` or the time left; off a terminal at most every 20 s, and at the end."""
        line = line or self.left(done, total)
        if self.bars:
            self.bars.update(self.bars.task_ids[0], completed=done, total=total, line=line)
        elif done == total or time.monotonic() - self.told >= EVERY_S:
            self.told = time.monotonic()
            self.watch.say(f"{self.name} {done}/{total}  {line}".rstrip())

    def left(self, done: int, total: int) -> str:
        """The time left at the pace so far; what was done before the first call was not done now."""
        if self.first is None:
            self.first, self.begun = done, time.monotonic()
        made = done - self.first
        if not made or done == total:
            return ""
        return f"{duration((time.monotonic() - self.begun) * (total - done) / made)} left"

    def follow(self, progress: Progress) -> None:
        """As a training's reporter: the end of an epoch's updates, and of the epoch, are always lines."""
        epoch, loss = f"{self.name}, epoch {progress.epoch}", f"loss {progress.loss:.3f}"
        left = f"{duration(progress.seconds_left)} left"
        if progress.dev is not None:
            self.watch.say(f"{epoch}: dev {100 * progress.dev:.1f}  {loss}")
        elif progress.scoring:
            self.watch.say(f"{epoch}: trained, scoring dev  {loss}" + (f"  {left}" if progress.epoch > 1 else ""))
        else:
            self.tick(progress.step, progress.steps, f"{loss}  {progress.tokens_per_s:.0f} tokens/s  {left}")


@contextmanager
def ticking(watch: Watch, name: str) -> Iterator[Ticker]:
    """A ticker whose bar is taken away at the end."""
    ticker, console = Ticker(watch, name), watch.console
    if not console.is_terminal:
        yield ticker
        return
    with bars(console) as shown:
        shown.add_task(name, total=None, line="")
        ticker.bars = shown
        yield ticker


def bars(console: Console) -> Bars:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(24),
        TextColumn("{task.completed}/{task.total}"),
    )
    return Bars(*columns, TextColumn("{task.fields[line]}"), console=console, transient=True)
