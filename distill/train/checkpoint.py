"""The state of a training in one file, which is replaced in one step: nobody can read a half-written checkpoint.

Randomness is not stored. Batches depend on seed and epoch alone, dropout on seed and update.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from promptstill.errors import InfrastructureError, UserError
from promptstill.files import write_bytes

CHECKPOINT_NAME = "checkpoint.pt"


@dataclass
class Position:
    """How far a training has come: `step` updates of epoch `epoch` (from 0) are done, and all epochs before it.

    losses, dev_scores: one value per finished epoch. epoch_losses: one per update of the current epoch.
    seconds: spent on updates. dev_seconds: spent on scoring dev.
    ended: no other epoch follows.
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
    def total_seconds(self) -> float:
        return self.seconds + self.dev_seconds


@dataclass(frozen=True)
class Checkpoint:
    """A position, and the tensors to continue from: the adapter, the best adapter so far, and the optimizer's state."""

    position: Position
    adapter: dict[str, torch.Tensor]
    best: dict[str, torch.Tensor] | None
    optimizer: dict[str, Any]


def save_checkpoint(work_dir: Path, fingerprint: str, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint of `work_dir`. Raises `InfrastructureError` where the disk does not take it."""
    buffer = io.BytesIO()
    content = {"fingerprint": fingerprint, "position": asdict(checkpoint.position), "adapter": checkpoint.adapter}
    torch.save(content | {"best": checkpoint.best, "optimizer": checkpoint.optimizer}, buffer)
    with disk_errors(work_dir):
        write_bytes(work_dir / CHECKPOINT_NAME, buffer.getvalue())


def load_checkpoint(work_dir: Path, fingerprint: str) -> Checkpoint | None:
    """The last checkpoint; None where there is none. Raises `UserError` for one of other rows, weights or settings."""
    path = work_dir / CHECKPOINT_NAME
    if not path.is_file():
        return None
    content = torch.load(path, map_location="cpu", weights_only=True)
    if content.get("fingerprint") != fingerprint:
        raise UserError(
            f"{path} is of another training.",
            "Its rows, base model or hyper-parameters differ from those given now.",
            "Remove it to train anew, or give the settings that it was made with.",
        )
    return Checkpoint(Position(**content["position"]), content["adapter"], content["best"], content["optimizer"])


@contextlib.contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turns a failed write below `folder` into an `InfrastructureError` that says what to do."""
    try:
        yield
    except OSError as error:
        raise InfrastructureError(
            f"{folder} cannot be written.",
            str(error),
            "Free some disk space, then go on with --resume: training continues from the last checkpoint.",
        ) from error
