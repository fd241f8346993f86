"""Where a training stands, in one file that is replaced in one step: a half-written checkpoint cannot be met.

Randomness is not stored: batches are a function of seed and epoch, dropout one of seed and update.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from optimizer.errors import InfrastructureError, UserError
from optimizer.files import write_bytes

NAME = "checkpoint.pt"


@dataclass
class Position:
    """`step` updates of epoch `epoch` (from 0) are done; epochs before it are trained and scored on dev.

    `epoch_losses` are the running epoch's, one an update; `ended` says that no epoch follows. `seconds` are those of
    updates, `dev_seconds` those of the readings of dev.
    """

    epoch: int = 0
    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    dev_seconds: float = 0.0
    dev_scores: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    epoch_losses: list[float] = field(default_factory=list)
    ended: bool = False

    @property
    def all_seconds(self) -> float:
        return self.seconds + self.dev_seconds


@dataclass(frozen=True)
class Checkpoint:
    """A position with the tensors that go on from it: the adapter, the best so far, and the optimizer's state."""

    position: Position
    adapter: dict[str, torch.Tensor]
    best: dict[str, torch.Tensor] | None
    optimizer: dict[str, Any]


def save(work_dir: Path, subject: str, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint of `work_dir`. Raises `InfrastructureError` where the disk does not take it."""
    buffer = io.BytesIO()
    content = {"subject": subject, "position": asdict(checkpoint.position), "adapter": checkpoint.adapter}
    torch.save(content | {"best": checkpoint.best, "optimizer": checkpoint.optimizer}, buffer)
    with disk(work_dir):
        write_bytes(work_dir / NAME, buffer.getvalue())


def load(work_dir: Path, subject: str) -> Checkpoint | None:
    """The last checkpoint; None where there is none. Raises `UserError` for one of other rows, weights or settings."""
    path = work_dir / NAME
    if not path.is_file():
        return None
    content = torch.load(path, map_location="cpu", weights_only=True)
    if content["subject"] != subject:
        raise UserError(
            f"{path} is of another training.",
            "Its rows, base model or hyper-parameters differ from those given now.",
            "Remove it to train anew, or give the settings that it was made with.",
        )
    return Checkpoint(Position(**content["position"]), content["adapter"], content["best"], content["optimizer"])


@contextlib.contextmanager
def disk(folder: Path) -> Iterator[None]:
    """Turns a failed write below `folder` into an `InfrastructureError` that says what to do."""
    try:
        yield
    except OSError as error:
        raise InfrastructureError(
            f"{folder} cannot be written.",
            str(error),
            "Free some disk, then go on with --resume: training continues from the last checkpoint.",
        ) from error
