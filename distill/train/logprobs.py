"""Logits where a completion is predicted, and nowhere else: what losses and log-probabilities share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from distill.train.batches import micro_batches
from distill.train.encode import EncodedExample


def target_losses(model: Any, rows: Sequence[EncodedExample], device: torch.device) -> torch.Tensor:
    """The negative log-probability (nats, float32) of each completion token, row after row, in one vector.

    Rows are padded on the right. A causal model never looks ahead, so no attention mask is needed. The output layer, a
    fifth of a small model's work, runs only on the columns where some row has a target.
    """
    width = max(row.length for row in rows)
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    is_target = torch.zeros((len(rows), width - 1), dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, : row.length] = torch.tensor(row.ids)
        is_target[i, len(row.prompt) - 1 : row.length - 1] = True
    columns = is_target.any(0).nonzero().squeeze(1)
    out = model(input_ids=ids[:, :-1].to(device), logits_to_keep=columns.to(device), use_cache=False)
    logits = out.logits[is_target[:, columns].to(device)]
    return cross_entropy(logits.float(), ids[:, 1:][is_target].to(device), reduction="none")


def logprobs(model: Any, rows: Sequence[EncodedExample], max_tokens: int = 2048) -> list[list[float]]:
    """The log-probability (nats) of each completion token, in the order of `rows`, which may repeat."""
    found: dict[EncodedExample, list[float]] = {}
    model.eval()
    with torch.inference_mode():
        for group in micro_batches(rows, max_tokens):
            parts = torch.split(-target_losses(model, group, model.device), [len(row.completion) for row in group])
            found |= {row: part.tolist() for row, part in zip(group, parts, strict=True)}
    return [found[row] for row in rows]
