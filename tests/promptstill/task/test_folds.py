"""Few rows in folds: who gets them, what a fold holds, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptstill import UserError
from promptstill.task.folds import FEW_ROWS
from promptstill.task.open import OpenTask, open_task
from promptstill.task.splits import describe_splits
from tests.support.recipe_file import RECIPE, make_rows, write_recipe


def opened(folder: Path, count: int, folds: int | None = None, text: str = RECIPE) -> OpenTask:
    rows = [{**row, "answer": f"a{i % 3}"} for i, row in enumerate(make_rows(count))]
    return open_task(write_recipe(folder, text, rows=rows), folds=folds)


def test_few_rows_are_folded_and_many_are_not(tmp_path: Path) -> None:
    assert len(opened(tmp_path, FEW_ROWS - 1).splits.folds) == 5
    assert opened(tmp_path, FEW_ROWS).splits.folds == ()
    assert len(opened(tmp_path, FEW_ROWS, 3).splits.folds) == 3
    assert opened(tmp_path, 20, 0).splits.folds == ()


def test_a_fold_is_test_for_the_rows_outside_of_it_which_are_train_and_dev(tmp_path: Path) -> None:
    splits = opened(tmp_path, 22).splits
    everything = {row.id for row in splits.train}
    assert len(everything) == 22 and splits.train == splits.dev == splits.test and splits.shared
    tested = [row.id for fold in splits.folds for row in fold.test]
    assert sorted(tested) == sorted(everything), "each row is test once"
    for fold in splits.folds:
        assert fold.train == fold.dev and fold.shared
        assert {row.id for row in fold.train} == everything - {row.id for row in fold.test}
        assert {row.outputs["answer"] for row in fold.train} == {"a0", "a1", "a2"}
    assert sorted(len(fold.test) for fold in splits.folds) == [4, 4, 4, 5, 5]


def test_the_deal_depends_on_its_seed_alone(tmp_path: Path) -> None:
    def dealt(seed: int) -> list[list[str]]:
        task = open_task(write_recipe(tmp_path, rows=make_rows(20)), split_seed=seed, folds=None)
        return [[row.id for row in fold.test] for fold in task.splits.folds]

    assert dealt(0) == dealt(0) != dealt(1)


def test_rows_that_name_their_split_or_a_split_by_hand_are_not_dealt_into_folds(tmp_path: Path) -> None:
    rows = [{**row, "split": ("train", "dev", "test")[i % 3]} for i, row in enumerate(make_rows(30))]
    named = write_recipe(tmp_path, rows=rows)
    assert open_task(named, folds=None).splits.folds == ()
    with pytest.raises(UserError, match="name their split"):
        open_task(named, folds=5)
    by_hand = RECIPE.replace("exact_match('answer'))", "exact_match('answer'), split=(8, 4, 8))")
    assert opened(tmp_path, 20, text=by_hand).splits.folds == ()


def test_groups_stay_whole_and_bound_the_number_of_folds(tmp_path: Path) -> None:
    text = RECIPE.replace("exact_match('answer'))", "exact_match('answer'), group='site')")
    rows = [{**row, "answer": f"a{i % 2}", "site": f"s{i % 3}"} for i, row in enumerate(make_rows(15))]
    recipe = write_recipe(tmp_path, text, rows=rows)
    folds = open_task(recipe, folds=None).splits.folds
    assert [len({row.group for row in fold.test}) for fold in folds] == [1, 1, 1]
    with pytest.raises(UserError, match="3 groups of rows cannot make 4 folds"):
        open_task(recipe, folds=4)


def test_leaks_between_folds_are_left_out_where_that_is_wished(tmp_path: Path) -> None:
    rows = [
        {"question": f"what is the long name of the thing number {i // 2}{'!' * (i % 2)}", "answer": f"a{i % 2}"}
        for i in range(20)
    ]
    recipe = write_recipe(tmp_path, rows=rows)
    kept, dropped = (open_task(recipe, folds=5, drop_leaks=wish).splits.folds for wish in (False, True))
    assert [len(fold.train) for fold in kept] == [16] * 5
    assert all(len(fold.train) < 16 for fold in dropped) and all(fold.train == fold.dev for fold in dropped)


def test_the_folds_are_described(tmp_path: Path) -> None:
    task = opened(tmp_path, 22)
    assert next(iter(describe_splits(task.splits, task.recipe))) == (
        "22 labelled rows in 5 folds of 4 to 5: each is test once, unseen"
    )


def test_what_a_split_lacks_is_told_of_the_rows_as_they_are_dealt(tmp_path: Path) -> None:
    labels = "abcdefghij"
    text = RECIPE.replace("answer: str", f"answer: Literal{list(labels)}").replace(
        "import dspy", "from typing import Literal\nimport dspy"
    )
    rows = [{**row, "answer": labels[i % 10]} for i, row in enumerate(make_rows(40))]
    recipe = write_recipe(tmp_path, text, rows=rows)
    (lacking,) = open_task(recipe).warnings
    assert lacking.startswith("no dev row has the answer ")
    folded = open_task(recipe, folds=None)
    assert folded.warnings == () and len(folded.splits.labelled) == 40
