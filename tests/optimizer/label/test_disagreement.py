"""How much answers differ, and which rows are picked for it."""

from __future__ import annotations

from math import log
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.label.disagreement import disagreement
from optimizer.label.label import AskedRow, pick
from promptstill.scoring.rivals.kinds import Kind
from promptstill.task.examples import Example

LABEL: dict[str, Kind] = {"answer": "label"}
FREE: dict[str, Kind] = {"answer": "free"}


def answers(*texts: Any) -> list[dict[str, Any] | None]:
    return [None if text is None else {"answer": text} for text in texts]


def test_votes_count_by_their_entropy() -> None:
    assert disagreement(answers("Red", "red ", "RED", "red", "red"), LABEL) == 0
    assert disagreement(answers("a", "b", "c", "d", "e"), LABEL) == pytest.approx(1)
    split = disagreement(answers("a", "a", "a", "b", "b"), LABEL)
    assert split == pytest.approx((0.6 * log(1 / 0.6) + 0.4 * log(1 / 0.4)) / log(5))
    assert disagreement(answers("a", "a", "a", "a", "b"), LABEL) < split
    assert disagreement(answers("a", "a", "a", None, None), LABEL) == pytest.approx(split), "unread is a vote too"
    assert disagreement(answers(1.5, 15), {"answer": "number"}) == pytest.approx(1)


def test_free_text_counts_by_its_words() -> None:
    assert disagreement(answers("a red box", "A red  box"), FREE) == 0
    assert disagreement(answers("a red box", "a blue box"), FREE) == pytest.approx(1 / 3)
    assert disagreement(answers("a red box", None), FREE) == 1
    assert disagreement(answers(None, None, None), FREE) == 0


def test_of_several_outputs_the_mean_counts() -> None:
    both = [{"label": "x", "answer": "one two"}, {"label": "y", "answer": "one two"}]
    assert disagreement(both, {"label": "label", **FREE}) == pytest.approx(0.5)


@given(st.lists(st.one_of(st.none(), st.text(max_size=8)), min_size=2, max_size=6), st.sampled_from([LABEL, FREE]))
def test_it_is_a_share_whatever_the_order(texts: list[str | None], kinds: dict[str, Kind]) -> None:
    found = disagreement(answers(*texts), kinds)
    assert -1e-9 <= found <= 1 + 1e-9
    assert disagreement(answers(*texts[::-1]), kinds) == pytest.approx(found)
    assert disagreement(answers(*[texts[0]] * len(texts)), kinds) == 0


def row(text: str, value: float) -> AskedRow:
    return AskedRow(Example(text, text, {"text": text}, {}, {"text": text}, text), [], value)


def test_near_duplicates_stand_behind_all_rows_that_differ() -> None:
    long = "the parcel came late and the box was wet so I want my money back today"
    rows = [row(long, 0.9), row(f"{long} please", 0.9), row("why was I billed twice", 0.4), row("hello", 0.0)]
    picked = [one.example.inputs["text"] for one in pick(rows, 4)]
    assert picked == [long, "why was I billed twice", f"{long} please"], "and where all agree there is nothing to pick"
    assert [one.example.inputs["text"] for one in pick(rows, 2)] == picked[:2]
