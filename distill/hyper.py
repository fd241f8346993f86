"""What a user may turn in training, and what is refused before it begins. Imports nothing heavy.

Defaults follow "LoRA Without Regret" (Thinking Machines, 2025): every linear layer, small batches, and a learning rate
about ten times that of full fine-tuning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from optimizer.errors import UserError

RANKS = (8, 16, 32, 64)
RSLORA_ALPHA = 8
ALL_LINEAR = "all-linear"
Precision = Literal["auto", "fp32", "bf16"]


@dataclass(frozen=True)
class Hyper:
    """The hyper-parameters of one training. `batch` is rows an update, over all processes; `warmup` a share of updates.

    `alpha` None means twice the rank, or with rsLoRA 8, which scales alike at rank 16. `patience` is the number of
    epochs without a better dev score that ends training.
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
        for name, fine, allowed in (
            ("lr", 0 < self.lr < 1, "between 0 and 1"),
            ("epochs", self.epochs >= 1, "1 or more"),
            ("batch", self.batch >= 1, "1 or more"),
            ("alpha", self.scale > 0, "1 or more"),
            ("warmup", 0 <= self.warmup < 1, "from 0 to below 1"),
            ("weight_decay", self.weight_decay >= 0, "0 or more"),
            ("dropout", 0 <= self.dropout < 1, "from 0 to below 1"),
            ("patience", self.patience >= 1, "1 or more"),
        ):
            if not fine:
                raise UserError(f"{name} is {getattr(self, name)}.", "", f"It must be {allowed}.")

    @property
    def scale(self) -> int:
        """LoRA's alpha."""
        default = RSLORA_ALPHA if self.rslora else 2 * self.r
        return default if self.alpha is None else self.alpha


def lr_share(step: int, steps: int, warmup: float) -> float:
    """The share of the full learning rate at update `step` (from 0) of `steps`: linear warm-up, then linear decay."""
    rise = max(1, round(warmup * steps))
    return (step + 1) / rise if step < rise else (steps - step) / max(1, steps - rise)


def exhausted(scores: list[float], patience: int) -> bool:
    """Whether the last `patience` epochs brought no dev score above the best before them."""
    return len(scores) > patience and max(scores[-patience:]) <= max(scores[:-patience])


def best_epoch(scores: list[float]) -> int:
    """The epoch, from 1, with the best dev score; the earlier of equals."""
    return scores.index(max(scores)) + 1
