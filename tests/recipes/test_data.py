"""The rows of recipes/qa.py: unique, answered by their passage, and no passage in two splits."""

from __future__ import annotations

from collections import Counter, defaultdict

from promptstill import read_jsonl
from tests.support import ROOT

ROWS = read_jsonl(ROOT / "recipes" / "data" / "qa.jsonl")


def test_there_is_enough_of_it() -> None:
    sizes = Counter(row["split"] for row in ROWS)
    assert len(ROWS) >= 300 and len({row["context"] for row in ROWS}) >= 75 and sizes["test"] >= 100
    assert set(sizes) == {"train", "dev", "test"}


def test_questions_are_unique_and_answered_by_the_passage() -> None:
    assert len({(row["context"], row["question"]) for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert row["answers"][0] == row["answer"]
        assert all(answer in row["context"] for answer in row["answers"]), row["question"]
    assert any(len(row["answers"]) > 1 for row in ROWS)


def test_no_passage_stands_in_two_splits() -> None:
    splits = defaultdict(set)
    for row in ROWS:
        splits[row["context"]].add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
