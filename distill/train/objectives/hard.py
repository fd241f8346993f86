"""Hard targets: cross-entropy on the tokens of the teacher's answer and on the stop token after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from distill.teach.example import TrainingExample
from distill.train.encode import EncodedExample, Encoder, TooLong, encode_examples
from distill.train.logprobs import target_losses


def encode(
    encoder: Encoder, examples: Sequence[TrainingExample], limit: int
) -> tuple[list[EncodedExample], list[TooLong]]:
    """Prompt and completion as token ids; a row needs nothing else."""
    return encode_examples(encoder, examples, limit)


def loss(model: Any, rows: Sequence[EncodedExample], device: torch.device) -> torch.Tensor:
    """The negative log-probability of the completions, summed."""
    return target_losses(model, rows, device).sum()
