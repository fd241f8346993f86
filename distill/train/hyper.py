"""The hyper-parameters of a training, and which values are refused before it begins. Imports nothing heavy.

Defaults follow "LoRA Without Regret" (Thinking Machines, 2025): every linear layer, small batches, and a learning rate
about ten times that of full fine-tuning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from promptstill.errors import UserError

RANKS = (8, 16, 32, 64)
RSLORA_ALPHA = 8
ALL_LINEAR = "all-linear"
Precision = Literal["auto", "fp32", "bf16"]


@dataclass(frozen=True)
class HyperParameters:
    """The hyper-parameters of one training.

    alpha: None means twice the rank, or 8 with rsLoRA, which gives the same scale at rank 16.
    batch: rows per update, over all processes. warmup: a share of the updates.
    patience: training ends after this many epochs without a better dev score.
    """

    r: int = 16
    alpha: int | None = None
    targets: str | tuple[str, ...] = ALL_LINEAR
    rslora: bool = False
    lr: float = 5e-4
    epochs: int = 3
    batch: int = 16
    warmup: float = 0.05
    weight_decay: float = 0.0
    dropout: float = 0.0
    seed: int = 0
    precision: Precision = "auto"
    patience: int = 2

    def __post_init__(self) -> None:
        if self.r not in RANKS:
            raise UserError(
                f"A LoRA rank of {self.r} cannot be served.",
                "vLLM takes adapters up to a maximum of 8, 16, 32 or 64 ranks here.",
                f"Choose one of {', '.join(map(str, RANKS))}.",
            )
        for name, valid, allowed in (
            ("lr", 0 < self.lr < 1, "between 0 and 1"),
            ("epochs", self.epochs >= 1, "1 or more"),
            ("batch", self.batch >= 1, "1 or more"),
            ("alpha", self.lora_alpha > 0, "1 or more"),
            ("warmup", 0 <= self.warmup < 1, "from 0 to below 1"),
            ("weight_decay", self.weight_decay >= 0, "0 or more"),
            ("dropout", 0 <= self.dropout < 1, "from 0 to below 1"),
            ("patience", self.patience >= 1, "1 or more"),
        ):
            if not valid:
                raise UserError(f"{name} is {getattr(self, name)}.", "", f"It must be {allowed}.")

    @property
    def lora_alpha(self) -> int:
        """LoRA's alpha, the default filled in."""
        default = RSLORA_ALPHA if self.rslora else 2 * self.r
        return default if self.alpha is None else self.alpha


def lr_fraction(step: int, steps: int, warmup: float) -> float:
    """The share of the full learning rate at update `step` (from 0) of `steps`: linear warm-up, then linear decay."""
    rise = max(1, round(warmup * steps))
    return (step + 1) / rise if step < rise else (steps - step) / max(1, steps - rise)


def out_of_patience(scores: list[float], patience: int) -> bool:
    """Whether none of the last `patience` epochs has a dev score above the best before them."""
    return len(scores) > patience and max(scores[-patience:]) <= max(scores[:-patience])


def best_epoch(scores: list[float]) -> int:
    """The epoch, from 1, with the best dev score; the earlier of equals."""
    return scores.index(max(scores)) + 1
