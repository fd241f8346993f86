"""The rivals of a recipe, and why some recipes have none."""

from __future__ import annotations

import asyncio
from pathlib import Path

from promptstill.scoring.rivals.of_recipe import rivals_of
from promptstill.scoring.rivals.report import RivalResult
from promptstill.task.open import open_task
from tests.optimizer.program import PROGRAM
from tests.support.recipe_file import RECIPE, make_rows, write_recipe

JUDGED = RECIPE.replace("metric=exact_match('answer')", "metric=ask_judge") + (
    "\ndef ask_judge(example, prediction):\n    raise AssertionError\n\nask_judge.judge = True\n"
)


def rivals(path: str) -> tuple[dict[str, RivalResult], str]:
    said: list[str] = []
    return asyncio.run(rivals_of(open_task(path), None, said.append)), "\n".join(said)


def test_a_recipe_of_free_text_has_the_commonest_and_the_nearest(tmp_path: Path) -> None:
    found, said = rivals(write_recipe(tmp_path, rows=make_rows(40)))
    assert list(found) == ["majority", "nearest"] and found["nearest"].settings == {"k": 1}
    assert len(found["nearest"].results) == 12 and "rivals without a model learn from 20 train rows" in said


def test_with_a_judge_they_are_left_out_and_that_is_said(tmp_path: Path) -> None:
    found, said = rivals(write_recipe(tmp_path, JUDGED, rows=make_rows(40)))
    assert found == {} and said == "rivals without a model are left out: the metric asks a model for each mark"


def test_a_program_has_none_and_that_is_said(tmp_path: Path) -> None:
    found, said = rivals(write_recipe(tmp_path, PROGRAM, name="triage.py"))
    assert found == {} and "left out: the recipe is of a program" in said
