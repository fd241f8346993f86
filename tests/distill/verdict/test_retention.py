"""What training made the model forget, measured on the off-task probe."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from distill.train.adapter import load_adapter
from distill.train.weights import load_base, load_tokenizer
from distill.verdict.retention import ITEMS, measure_retention
from promptstill.engine.models import Model
from tests.distill.verdict.adapters import copy_adapter, zero_b

CPU = torch.device("cpu")


def test_the_off_task_probe_compares_the_adapter_with_its_base(base: Model, adapter: Path) -> None:
    tokenizer = load_tokenizer(base)
    found = measure_retention(load_adapter(load_base(base, "fp32", CPU), adapter), tokenizer)
    assert found.items == 60 and sorted(found.kinds) == ["arithmetic", "fact", "grammar", "sense"]
    assert round((found.adapted - found.base) * 60) == found.gained - found.lost and found.gained + found.lost > 0
    assert found.base == pytest.approx(sum(was for was, _ in found.kinds.values()) / 4)


def test_an_adapter_that_changes_nothing_forgets_nothing(base: Model, adapter: Path, tmp_path: Path) -> None:
    silent = copy_adapter(adapter, tmp_path / "silent", zero_b)
    found = measure_retention(load_adapter(load_base(base, "fp32", CPU), silent), load_tokenizer(base))
    assert found.adapted == found.base and found.lost == found.gained == 0


def test_off_task_items_are_distinct_and_differ_only_in_their_end() -> None:
    items = [json.loads(line) for line in ITEMS.read_text().splitlines()]
    assert len({item["prompt"] for item in items}) == len(items) == 60
    assert all(item["right"] != item["wrong"] and item["right"][0] == item["wrong"][0] == " " for item in items)
    assert not any(item["prompt"].endswith(" ") for item in items)
