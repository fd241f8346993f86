"""Rows that do not fit the signature, refused by file and line before any call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptstill import UserError
from promptstill.task.metrics import apply_metric
from promptstill.task.open import open_task
from tests.support.recipe_file import RECIPE, make_rows, write_recipe

BAD_ROWS: list[tuple[dict[str, Any], str]] = [
    ({"answer": "a"}, "no field question."),
    ({"question": "half \ud800", "answer": "a"}, "its text is broken."),
    ({"question": 3, "answer": "a"}, "question is int, not a string."),
    ({"question": "q", "answer": 3}, "answer is int, not a string."),
    ({"question": "x" * 100_000, "answer": "a"}, "its inputs take 100,015 bytes, more than 32,768."),
]


@pytest.mark.parametrize(("row", "message"), BAD_ROWS)
def test_a_bad_row_is_refused_by_line(row: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        open_task(write_recipe(tmp_path, rows=[*make_rows(), row]))
    assert caught.value.what == f"{tmp_path}/rows.jsonl, line 21: {message}"


def test_a_list_of_accepted_answers_is_not_guessed(tmp_path: Path) -> None:
    rows = [*make_rows(), {"question": "q", "answer": ["right", "also right"]}]
    with pytest.raises(UserError) as caught:
        open_task(write_recipe(tmp_path, rows=rows))
    assert caught.value.what.endswith("line 21: answer is a list, and the signature's answer is none.")
    assert 'exact_match("answer", accepted="answers")' in caught.value.do


def test_accepted_answers_stand_in_a_field_of_their_own(tmp_path: Path) -> None:
    text = RECIPE.replace("exact_match('answer')", "exact_match('answer', accepted='answers')")
    rows = [*make_rows(), {"question": "q", "answer": "right", "answers": ["also right"]}]
    opened = open_task(write_recipe(tmp_path, text, rows))
    splits = opened.splits
    example = next(one for one in (*splits.train, *splits.dev, *splits.test) if one.inputs["question"] == "q")
    assert example.outputs == {"answer": "right"} and opened.warnings == ()
    given = [{"answer": text} for text in ("right", "Also right", "no")]
    assert [apply_metric(opened.recipe.metric, example, outputs).score for outputs in given] == [1.0, 1.0, 0.0]


def test_accepted_names_a_field_of_the_rows(tmp_path: Path) -> None:
    text = RECIPE.replace("exact_match('answer')", "exact_match('answer', accepted='answer s')")
    with pytest.raises(UserError, match=r"looks for accepted answers in answer s, which no row has") as caught:
        open_task(write_recipe(tmp_path, text, make_rows()))
    assert caught.value.why == "Did you mean answer? There is question, answer."
