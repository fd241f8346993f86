"""Opening a recipe: what is found before any call, and the limits of a reply."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimizer.launch import data_lines
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
    text = with_metric(f"\ndef score(example, prediction):\n    return {body}\n")
    with pytest.raises(UserError) as caught:
        open_task(write_recipe(tmp_path, text, make_rows()))
    assert caught.value.what.startswith(message.replace("{rows}", f"{tmp_path}/rows.jsonl"))


def test_a_signature_without_outputs_is_refused(tmp_path: Path) -> None:
    text = RECIPE.replace("    answer: str = dspy.OutputField()\n", "")
    with pytest.raises(UserError, match="The signature Ask has no output field"):
        open_task(write_recipe(tmp_path, text, make_rows()))


ODD = """
def score(example, prediction):
    return 0.5 if example.question in ("q3", "q9") else float(example.answer == prediction.answer)
"""


def with_metric(body: str) -> str:
    """The recipe with a metric `score` of its own."""
    return HEAD + body + RECIPE.removeprefix(HEAD).replace("exact_match('answer')", "score")


def test_rows_whose_gold_answer_does_not_score_in_full_are_named(tmp_path: Path) -> None:
    opened = open_task(write_recipe(tmp_path, with_metric(ODD), make_rows()))
    (line,) = opened.warnings
    assert line in data_lines(opened)
    assert line.startswith("the metric score scores the gold answer below 1.0 in 2 of 20 rows: ")
    assert all(f"{tmp_path}/rows.jsonl, line {n} (0.50)" in line for n in (4, 10))


def test_a_metric_by_which_no_gold_answer_scores_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        open_task(write_recipe(tmp_path, with_metric("\ndef score(example, prediction):\n    return 0\n"), make_rows()))
    assert caught.value.what == "The metric score gives 0 to the gold answer of each of the 20 rows."
    assert "line" in caught.value.why and "should return 1.0" in caught.value.do


def test_every_split_is_tried(tmp_path: Path) -> None:
    body = "\ndef score(example, prediction):\n    return 1 / (example.question != {question!r})\n"
    splits = open_task(write_recipe(tmp_path, rows=make_rows())).splits
    for split in (splits.train, splits.dev, splits.test):
        text = with_metric(body.format(question=split[0].inputs["question"]))
        with pytest.raises(UserError, match="The metric score raised ZeroDivisionError on"):
            open_task(write_recipe(tmp_path, text, make_rows()))


def test_a_judge_is_not_asked(tmp_path: Path) -> None:
    text = with_metric("\ndef score(example, prediction):\n    return 1 / 0\nscore.judge = True\n")
    assert open_task(write_recipe(tmp_path, text, make_rows())).warnings == ()


def test_a_split_without_a_label_is_named(tmp_path: Path) -> None:
    text = RECIPE.replace("answer: str", 'answer: Literal["yes", "no", "maybe"]')
    splits = {"train": ("yes", "no", "maybe"), "dev": ("yes", "no"), "test": ("yes", "no", "maybe")}
    rows = [
        {"question": f"{split} {n}", "answer": answers[n % len(answers)], "split": split}
        for split, answers in splits.items()
        for n in range(12)
    ]
    (line,) = open_task(write_recipe(tmp_path, f"from typing import Literal\n{text}", rows)).warnings
    assert line == "no dev row has the answer 'maybe': add some, or move some from another split"


def test_rows_of_one_label_are_refused(tmp_path: Path) -> None:
    rows = [{**row, "answer": "spam"} for row in make_rows()]
    with pytest.raises(UserError) as caught:
        open_task(write_recipe(tmp_path, rows=rows))
    assert caught.value.what == "All 20 rows have the same answer: 'spam'."
    assert caught.value.do.startswith("Add rows with other answers")


@pytest.mark.parametrize(
    ("answer", "max_tokens", "single_line"),
    [("short", 16, True), ("x" * 160, 96, True), ("two\nlines", 16, False), ("x" * 9_999, LONGEST_REPLY, True)],
)
def test_replies_are_as_long_as_train_needs(answer: str, max_tokens: int, single_line: bool, tmp_path: Path) -> None:
    rows = [{**row, "answer": answer.upper() if i % 2 else answer} for i, row in enumerate(make_rows())]
    task = open_task(write_recipe(tmp_path, rows=rows)).task
    assert (task.max_tokens, task.single_line) == (max_tokens, single_line)


def test_the_recipe_may_set_the_limit_and_the_caller_the_model(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, RECIPE.replace("Recipe(", "Recipe(max_tokens=7, "), make_rows())
    task = open_task(path, model="other").task
    assert (task.max_tokens, task.model) == (7, "other")
