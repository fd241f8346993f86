"""The progress of distill's long steps, as events for a listener."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from distill.train.job import TrainingProgress
from promptstill.events import Listener, Message, StepEnded, StepProgress, StepStarted
from promptstill.text import duration


class LongStep:
    """Tells a listener how far one long step is."""

    def __init__(self, listener: Listener, name: str) -> None:
        self.listener, self.name = listener, name
        self.started = time.monotonic()
        self.first: int | None = None

    def update(self, done: int, total: int, text: str = "") -> None:
        """`done` of `total` things are done; the listener gets `text`, or else the time left."""
        self.listener(StepProgress(self.name, done, total, text or self.time_left(done, total)))

    def time_left(self, done: int, total: int) -> str:
        """The time left at the speed so far. What is done at the first call was stored: it took no time."""
        if self.first is None:
            self.first, self.started = done, time.monotonic()
        done_now = done - self.first
        if not done_now or done == total:
            return ""
        return f"{duration((time.monotonic() - self.started) * (total - done) / done_now)} left"

    def update_training(self, progress: TrainingProgress) -> None:
        """The same for a training: a message where an epoch's updates or its dev score are done, else an update."""
        epoch, loss = f"{self.name}, epoch {progress.epoch}", f"loss {progress.loss:.3f}"
        left = f"{duration(progress.seconds_left)} left"
        if progress.dev is not None:
            self.listener(Message(f"{epoch}: dev {100 * progress.dev:.1f}  {loss}"))
        elif progress.scoring:
            left = f"  {left}" if progress.epoch > 1 else ""  # unknown before dev was scored once
            self.listener(Message(f"{epoch}: trained, scoring dev  {loss}{left}"))
        else:
            self.update(progress.step, progress.steps, f"{loss}  {progress.tokens_per_s:.0f} tokens/s  {left}")


@contextmanager
def long_step(listener: Listener, name: str) -> Iterator[LongStep]:
    """A step from its start to its end."""
    listener(StepStarted(name))
    try:
        yield LongStep(listener, name)
    finally:
        listener(StepEnded(name))
