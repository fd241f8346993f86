"""The unlabelled rows: how they are read, which are dropped, and which are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from distill.teach.unlabelled import read_unlabelled, unlabelled_rows
from promptstill import Recipe, UserError
from promptstill.prompt.layouts.task import Task
from promptstill.task.examples import Example
from promptstill.task.splits import Splits
from tests.support.answers import EXACT, Ask, example

TASK = Task(Ask, "fake", 16)
RECIPE = Recipe(signature=Ask, examples=[], metric=EXACT)


def more(path: Path, *lines: str) -> list[Example]:
    path.write_text("".join(line + "\n" for line in lines))
    return read_unlabelled(path, RECIPE, TASK.inputs, TASK.outputs)


def test_unlabelled_rows_are_read_and_repeated_inputs_dropped(tmp_path: Path) -> None:
    rows = more(
        tmp_path / "more.jsonl", *(json.dumps({"question": q, "answer": None}) for q in ("q1", "q7", "q7", "q8"))
    )
    assert rows[1].location == f"{tmp_path}/more.jsonl, line 2" and rows[0].outputs == {}
    splits = Splits([example(1, "a")], [], [], [example(8)], 0)
    assert [one.inputs["question"] for one in unlabelled_rows(splits, rows)] == ["q8", "q7"]
    assert unlabelled_rows(replace(splits, unlabelled=[]), []) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "{path}, line 2: not JSON."),
        ("[1]", "{path}, line 2: not a JSON object."),
        ('{"text": "x"}', "{path}, line 2: no field question.\nThe row has text."),
        ('{"question": 4}', "{path}, line 2: question is int, not a string."),
        (
            '{"question": "q", "answer": "a"}',
            "{path}, line 2: the row has the output answer.\n"
            "--unlabelled takes rows with inputs only, so its label would be ignored.\n"
            "Remove answer from it, or move the row to the recipe's data.",
        ),
    ],
)
def test_a_bad_unlabelled_row_is_named(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "more.jsonl"
    with pytest.raises(UserError) as caught:
        more(path, '{"question": "fine"}', line)
    assert str(caught.value).startswith(message.replace("{path}", str(path)))


def test_a_missing_or_empty_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read_unlabelled(tmp_path / "none.jsonl", RECIPE, TASK.inputs, TASK.outputs)
    assert caught.value.what == f"--unlabelled {tmp_path}/none.jsonl does not exist."
    with pytest.raises(UserError, match=r"more\.jsonl is empty\."):
        more(tmp_path / "more.jsonl")
