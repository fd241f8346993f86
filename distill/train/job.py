"""The inputs of a training, what it reports on the way, and its result. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from distill.train.encode import EncodedExample
from distill.train.hyper import HyperParameters
from promptstill.engine.models import Model
from promptstill.files import digest
from promptstill.prompt.decoding import Decoding


@dataclass(frozen=True)
class DevSet:
    """How an epoch is scored: prompts as token ids, how to decode replies to them, and the metric over all replies."""

    prompts: Sequence[Sequence[int]]
    decoding: Decoding
    score: Callable[[list[str]], float]


@dataclass(frozen=True)
class TrainingJob:
    """One training. `work_dir` holds its checkpoint and metrics: a second call there continues the first.

    dev: what an epoch is chosen by; with None the last one is kept. `objective` is a name in distill/train/objectives.
    last_epoch: after which training ends, while the learning rate falls as if all epochs followed; None for all.
    """

    model: Model
    rows: Sequence[EncodedExample]
    dev: DevSet | None
    hyper: HyperParameters
    work_dir: Path
    objective: str = "hard"
    last_epoch: int | None = None

    @property
    def epochs(self) -> int:
        """The most epochs that it trains."""
        return self.last_epoch or self.hyper.epochs

    @property
    def fingerprint(self) -> str:
        """A hash of everything that the training depends on. A checkpoint with another one is not continued."""
        rows = [[row.prompt, row.completion] for row in self.rows]
        dev = [list(prompt) for prompt in self.dev.prompts] if self.dev else self.last_epoch
        return digest([self.model.sha256 or self.model.path, rows, dev, asdict(self.hyper), self.objective])


@dataclass(frozen=True)
class TrainingProgress:
    """`step` of `steps` updates are done. `scoring`: these updates end an epoch, and dev is scored next. `dev` is the
    epoch's dev score once it is known, else None."""

    step: int
    steps: int
    epoch: int
    loss: float
    tokens_per_s: float
    seconds_left: float
    scoring: bool = False
    dev: float | None = None


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training. `epoch`, from 1, is the one whose adapter was kept; lists have one value per epoch, but
    dev_scores is empty where there were no dev rows."""

    epoch: int
    dev_scores: list[float]
    losses: list[float]
    tokens: int
    seconds: float
    peak_bytes: int
    device: str


ReportTraining = Callable[[TrainingProgress], None]
KeepGoing = Callable[[int, float], bool]  # epoch, its dev score
