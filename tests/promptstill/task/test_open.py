"""Opening a recipe: what is found before any call, and the limits of a reply."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptstill import UserError
from promptstill.task.open import LONGEST_REPLY, open_task
from tests.support.recipe_file import HEAD, RECIPE, make_rows, write_recipe


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("1 / 0", "The metric score raised ZeroDivisionError on {rows}, line"),
        ("7", "The metric score returned 7 on {rows}, line"),
        ("float('nan')", "The metric score returned nan on {rows}, line"),
    ],
)
def test_a_bad_metric_is_found_before_a_call(body: str, message: str, tmp_path: Path) -> None:
    text = HEAD + f"\ndef score(example, prediction):\n    return {body}\n" + RECIPE.removeprefix(HEAD)
    with pytest.raises(UserError) as caught:
        open_task(write_recipe(tmp_path, text.replace("exact_match('answer')", "score"), make_rows()))
    assert caught.value.what.startswith(message.replace("{rows}", f"{tmp_path}/rows.jsonl"))


def test_a_signature_without_outputs_is_refused(tmp_path: Path) -> None:
    text = RECIPE.replace("    answer: str = dspy.OutputField()\n", "")
    with pytest.raises(UserError, match="The signature Ask has no output field"):
        open_task(write_recipe(tmp_path, text, make_rows()))


@pytest.mark.parametrize(
    ("answer", "max_tokens", "single_line"),
    [("short", 16, True), ("x" * 160, 96, True), ("two\nlines", 16, False), ("x" * 9_999, LONGEST_REPLY, True)],
)
def test_replies_are_as_long_as_train_needs(answer: str, max_tokens: int, single_line: bool, tmp_path: Path) -> None:
    rows = [{**row, "answer": answer} for row in make_rows()]
    task = open_task(write_recipe(tmp_path, rows=rows)).task
    assert (task.max_tokens, task.single_line) == (max_tokens, single_line)


def test_the_recipe_may_set_the_limit_and_the_caller_the_model(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, RECIPE.replace("Recipe(", "Recipe(max_tokens=7, "), make_rows())
    task = open_task(path, model="other").task
    assert (task.max_tokens, task.model) == (7, "other")
