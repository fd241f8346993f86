"""The rows that are asked, and how the picked ones are written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest

from optimizer.label.label import refuse_program
from optimizer.label.rows import refuse_filled, unlabelled_rows, write_rows
from promptstill.errors import UserError
from promptstill.task.open import OpenTask, open_task
from tests.optimizer.program import PROGRAM
from tests.support.recipe_file import make_rows, write_recipe


def opened(folder: Path, *unlabelled: Mapping[str, object], split: bool = False) -> OpenTask:
    rows = make_rows(30)
    named = [row | {"split": ("train", "dev", "test")[n % 3]} for n, row in enumerate(rows)]
    return open_task(write_recipe(folder, rows=[*(named if split else rows), *unlabelled]))


def questions(task: OpenTask, seed: int) -> list[str]:
    return [row.inputs["question"] for row in unlabelled_rows(task, None, seed)]


def test_rows_that_are_labelled_elsewhere_or_repeat_are_left_out(tmp_path: Path) -> None:
    task = opened(tmp_path, {"question": "q3"}, {"question": "new", "answer": None}, {"question": "new", "n": 2})
    assert [row.location for row in unlabelled_rows(task, None, 0)] == [f"{tmp_path / 'rows.jsonl'}, line 32"]


def test_the_order_is_drawn_and_stays_when_rows_are_added(tmp_path: Path) -> None:
    new = [{"question": f"new {n}"} for n in range(20)]
    few, all_of_them = (questions(opened(tmp_path, *rows), 0) for rows in (new[:12], new))
    assert [one for one in all_of_them if one in few] == few != sorted(few)
    other = questions(opened(tmp_path, *new), 1)
    assert other != all_of_them and sorted(other) == sorted(all_of_them)


def test_without_unlabelled_rows_the_way_out_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no unlabelled row\.\n.* without answer, or with null.*\n.* --from ROWS"):
        unlabelled_rows(opened(tmp_path), None, 0)


@pytest.mark.parametrize("split", [False, True])
def test_a_written_row_is_what_it_was_with_an_empty_place_and_fits_the_data(split: bool, tmp_path: Path) -> None:
    task = opened(tmp_path, {"question": "new", "day": "Monday"}, split=split)
    (row,) = unlabelled_rows(task, None, 0)
    row.row["seen"] = date(2026, 1, 2)  # type: ignore[index]  # as the cell of a data frame
    path = tmp_path / "list.jsonl"
    write_rows(path, [row], task)
    written = json.loads(path.read_text())
    seen = written.pop("seen")
    marked = {"split": "train"} if split else {}
    assert seen == "2026-01-02" and written == {"question": "new", "day": "Monday", "answer": None} | marked
    refuse_filled(path, ["answer"])
    more = opened(tmp_path, written | {"answer": "yes"}, split=split)
    labelled = len(task.splits.train) + len(task.splits.dev) + len(task.splits.test)
    assert len(more.splits.train) + len(more.splits.dev) + len(more.splits.test) == labelled + 1
    for text in (json.dumps(written | {"answer": "yes"}), "{", "[1]", '{"other": 1}'):
        path.write_text(text)
        with pytest.raises(UserError, match="is no list without labels"):
            refuse_filled(path, ["answer"])


def test_the_recipe_of_a_program_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is of a program"):
        refuse_program(open_task(write_recipe(tmp_path, PROGRAM)))
    refuse_program(opened(tmp_path))
