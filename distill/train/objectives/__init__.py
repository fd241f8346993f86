"""Training objectives, one file each: what a student learns from a training example.

An objective is a module with two functions, the data and the loss of `Objective`. To add one, write its file here and
add a line to OBJECTIVES. tests/distill/train/test_objectives.py tries every entry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch

from distill.teach.example import TrainingExample
from distill.train.encode import EncodedExample, Encoder, TooLong
from distill.train.objectives import hard


class Objective(Protocol):
    """What each objective's module is."""

    def encode(
        self, encoder: Encoder, examples: Sequence[TrainingExample], limit: int
    ) -> tuple[list[EncodedExample], list[TooLong]]:
        """The data: the rows to train on, each of at most `limit` tokens, and the examples that are longer."""
        ...

    def loss(self, model: Any, rows: Sequence[EncodedExample], device: torch.device) -> torch.Tensor:
        """The loss (nats), summed over the completion tokens of `rows`."""
        ...


OBJECTIVES: Mapping[str, Objective] = {"hard": hard}
