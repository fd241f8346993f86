"""Metrics of a whole split: what they say of a row, their score by scikit-learn, and what is refused before a call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, matthews_corrcoef

from promptstill import UserError, balanced_accuracy, macro_f1, matthews
from promptstill.task.examples import Example
from promptstill.task.metrics import apply_metric
from promptstill.task.metrics.whole import Labels, SplitMetric, split_score
from promptstill.task.open import open_task
from tests.support.recipe_file import RECIPE, make_rows, write_recipe

METRICS = (macro_f1, balanced_accuracy, matthews)
GOLD = ["a", "a", "a", "a", "b", "b", "c", "c"]
ANSWERS = ["a", "a", "b", None, "b", "odd", "c", "a"]


def labels(metric: SplitMetric) -> list[Labels]:
    return [Labels(metric.statistic, gold, answer) for gold, answer in zip(GOLD, ANSWERS, strict=True)]


@pytest.mark.parametrize("make", METRICS)
def test_of_a_row_it_says_right_or_wrong(make: Any) -> None:
    example = Example("id", "row 1", {}, {"answer": "Yes"}, {"answer": "Yes"}, "q")
    results = [apply_metric(make("answer"), example, {"answer": text}) for text in (" yes", "no")]
    assert [one.score for one in results] == [1.0, 0.0]
    assert [one.labels for one in results] == [Labels(make("answer").statistic, "yes", text) for text in ("yes", "no")]
    assert make("answer").__name__ == f"{make.__name__}(answer)"


def test_the_score_of_a_split_is_that_of_scikit_learn() -> None:
    answers = [answer if answer in GOLD else "none" for answer in ANSWERS]
    assert split_score(labels(matthews("x"))) == pytest.approx(matthews_corrcoef(GOLD, answers))
    known = {"labels": ["a", "b", "c"], "average": "macro"}
    assert split_score(labels(macro_f1("x"))) == pytest.approx(f1_score(GOLD, answers, **known))
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        expected = balanced_accuracy_score(GOLD, answers)
    assert (
        split_score(labels(balanced_accuracy("x"))) == pytest.approx(expected) == pytest.approx((0.5 + 0.5 + 0.5) / 3)
    )


def recipe_with(metric: str, folder: Path, answers: dict[str, list[str]]) -> str:
    """A recipe of 12 rows a split, whose answers are these in turn."""
    text = RECIPE.replace("exact_match('answer')", f"{metric}('answer')").replace(
        "import Recipe,", f"import {metric}, Recipe,"
    )
    rows = [
        {**row, "answer": answers[split][i // 3 % len(answers[split])], "split": split}
        for i, row in enumerate(make_rows(36))
        for split in (("train", "dev", "test")[i % 3],)
    ]
    return write_recipe(folder, text, rows)


@pytest.mark.parametrize("metric", [make.__name__ for make in METRICS])
@pytest.mark.parametrize("split", ["dev", "test"])
def test_a_split_of_one_label_is_refused(metric: str, split: str, tmp_path: Path) -> None:
    answers = {"train": ["yes", "no"], "dev": ["yes", "no"], "test": ["yes", "no"], split: ["yes"]}
    with pytest.raises(UserError) as caught:
        open_task(recipe_with(metric, tmp_path, answers))
    assert caught.value.what == f"All {split} rows have the same answer: 'yes'."
    assert f"Put rows of other labels into {split}" in caught.value.do


def test_a_label_that_a_split_lacks_is_named(tmp_path: Path) -> None:
    answers = {"train": ["yes", "no", "maybe"], "dev": ["yes", "no"], "test": ["yes", "no", "maybe"]}
    lines = open_task(recipe_with("macro_f1", tmp_path, answers)).warnings
    assert len(lines) == 2 and lines[0].startswith("macro_f1(answer) is a metric of a whole split")
    assert lines[1] == "no dev row has the answer 'maybe': macro_f1(answer) on dev says nothing of it"
