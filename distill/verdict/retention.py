"""Measures what training on a narrow task made the model forget: general sentences, before and after.

An item of `offtask.jsonl` is a beginning with a right and a wrong continuation (facts, grammar, arithmetic, common
sense, fifteen each). The model is right where it gives the right continuation, as a whole, the higher probability.
Chance is one half.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.train.encode import EncodedExample

ITEMS = Path(__file__).with_name("offtask.jsonl")


@dataclass(frozen=True)
class Retention:
    """Shares of `items` that are right, of the base and with the adapter; `kinds` has both by kind of item.

    lost, gained: number of items that only the base, or only the adapted model, has right.
    """

    items: int
    base: float
    adapted: float
    kinds: Mapping[str, tuple[float, float]]
    lost: int
    gained: int


def measure_retention(adapted: Any, tokenizer: Any) -> Retention:
    """Score a PEFT model with its adapter and without it."""
    items = [json.loads(line) for line in ITEMS.read_text(encoding="utf-8").splitlines()]
    after = _score_items(adapted, tokenizer, items)
    with adapted.disable_adapter():
        before = _score_items(adapted, tokenizer, items)
    kinds = {}
    for kind in dict.fromkeys(item["kind"] for item in items):
        numbers = [i for i, item in enumerate(items) if item["kind"] == kind]
        kinds[kind] = (_share([before[i] for i in numbers]), _share([after[i] for i in numbers]))
    lost = sum(was and not now for was, now in zip(before, after, strict=True))
    gained = sum(now and not was for was, now in zip(before, after, strict=True))
    return Retention(len(items), _share(before), _share(after), kinds, lost, gained)


def _score_items(model: Any, tokenizer: Any, items: list[dict[str, str]]) -> list[bool]:
    """Whether the model is right, by item."""
    from distill.train.logprobs import logprobs

    rows = [_encode(tokenizer, item["prompt"], item[side]) for item in items for side in ("right", "wrong")]
    totals = [sum(values) for values in logprobs(model, rows)]
    return [right > wrong for right, wrong in zip(totals[::2], totals[1::2], strict=True)]


def _encode(tokenizer: Any, beginning: str, continuation: str) -> EncodedExample:
    prompt = tokenizer.encode(beginning, add_special_tokens=True)
    whole = tokenizer.encode(beginning + continuation, add_special_tokens=True)
    return EncodedExample("off-task", tuple(prompt), tuple(whole[len(prompt) :]))


def _share(right: list[bool]) -> float:
    return sum(right) / len(right)
