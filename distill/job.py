"""What a training is given, what it tells on the way, and what it gives. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from distill.encode import Encoded
from distill.hyper import Hyper
from optimizer.files import digest
from optimizer.models import Model
from optimizer.prompt import Decoding


@dataclass(frozen=True)
class Dev:
    """How an epoch is judged: prompts as token ids, how to decode replies to them, and the metric over all replies."""

    prompts: Sequence[Sequence[int]]
    decoding: Decoding
    score: Callable[[list[str]], float]


@dataclass(frozen=True)
class Job:
    """One training. `work_dir` holds its checkpoint and metrics: a second call there goes on where the first ended."""

    model: Model
    rows: Sequence[Encoded]
    dev: Dev
    hyper: Hyper
    work_dir: Path

    @property
    def subject(self) -> str:
        """What a checkpoint must be of to be gone on from."""
        rows = [[row.prompt, row.completion] for row in self.rows]
        dev = [list(prompt) for prompt in self.dev.prompts]
        return digest([self.model.sha256 or self.model.path, rows, dev, asdict(self.hyper)])


@dataclass(frozen=True)
class Progress:
    """`step` of `steps` updates are done. `scoring`: they end an epoch, and dev is scored next. `dev` is the epoch's
    score where that is done, else None."""

    step: int
    steps: int
    epoch: int
    loss: float
    tokens_per_s: float
    seconds_left: float
    scoring: bool = False
    dev: float | None = None


@dataclass(frozen=True)
class Trained:
    """What a training gave: `epoch`, from 1, is the one whose adapter was kept; lists have one value an epoch."""

    epoch: int
    dev_scores: list[float]
    losses: list[float]
    tokens: int
    seconds: float
    peak_bytes: int
    device: str


Report = Callable[[Progress], None]
KeepGoing = Callable[[int, float], bool]
