"""Rows that do not fit the signature, refused by file and line before any call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptstill import UserError
from promptstill.task.open import open_task
from tests.support.recipe_file import make_rows, write_recipe

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


def test_of_several_accepted_answers_the_first_is_shown_in_demos(tmp_path: Path) -> None:
    rows = [*make_rows(), {"question": "q", "answer": ["right", "also right"], "split": "train"}]
    opened = open_task(
        write_recipe(tmp_path, rows=[{"split": ("train", "dev", "test")[i % 3], **row} for i, row in enumerate(rows)])
    )
    example = next(example for example in opened.splits.train if example.inputs["question"] == "q")
    assert example.outputs == {"answer": "right"} and example.row["answer"] == ["right", "also right"]
