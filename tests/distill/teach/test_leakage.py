"""A leak stops a distillation by the name of both rows, or is left out."""

from __future__ import annotations

from typing import Any

import pytest

from distill.teach.leakage import drop_leaks
from promptstill import UserError
from promptstill.task.examples import Example
from promptstill.task.splits import Splits

PASSAGE = (
    "The mill at Arden was built of oak in 1742 by two brothers who had quarrelled with the abbot over a weir " * 4
)


def row(number: int, label: str = "x", **inputs: Any) -> Example:
    return Example(f"id{number}", f"line {number}", inputs, {"answer": label} if label else {}, inputs, f"id{number}")


def test_a_leak_stops_and_names_both_rows_or_is_dropped() -> None:
    train = [row(1, text="What is it ?"), row(2, text="fine"), row(3, "", text=PASSAGE + "once")]
    splits = Splits(train[:2], [row(11, text=PASSAGE + "twice")], [row(12, text="what is it")], train[2:], 0)
    with pytest.raises(UserError) as caught:
        drop_leaks(train, splits, drop=False)
    assert str(caught.value) == (
        "line 1 (train) has the same inputs as line 12 (test).\n"
        "Scores on rows that the student was trained on mean nothing. Of 3 rows, 2 leak.\n"
        "Remove them, or leave them out of training with --drop-leaks."
    )
    with pytest.raises(UserError, match=r"line 3 \(unlabelled\) is 8\d% the same in its inputs as line 11 \(dev\)\."):
        drop_leaks(train[1:], splits, drop=False)
    assert drop_leaks(train, splits, drop=True) == ([train[1]], 2)
    assert drop_leaks(train[1:2], splits, drop=False) == ([train[1]], 0)
