"""The splits: seeded, disjoint, never empty, and by whole groups."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from promptstill import UserError
from promptstill.task.open import open_task
from promptstill.task.splits import describe_splits
from tests.support.recipe_file import RECIPE, make_rows, write_recipe

BAD_SPLITS: list[tuple[list[dict[str, Any]], str]] = [
    (make_rows(1), "The recipe has 1 row."),
    ([{**row, "split": "train"} for row in make_rows()], "There are no dev rows."),
    (
        [*make_rows(11), *make_rows(2)],
        "There are 11 labelled rows, and 2 duplicates left out.\n"
        "Fewer than 12 cannot choose a prompt and measure it on others.\n"
        'Label more rows, or mark each with a split of its own: "split": "train", "dev" or "test".',
    ),
    (
        [*[{**row, "split": "dev"} for row in make_rows()], {"question": "z", "answer": "z"}],
        "/rows.jsonl, line 21: split is None.",
    ),
    (
        [
            {"question": "q", "answer": "a", "split": "test"},
            {"question": "q", "answer": "b", "split": "dev"},
            *[{**row, "split": "train"} for row in make_rows()],
        ],
        "/rows.jsonl, line 1 (test) and /rows.jsonl, line 2 (dev) have the same inputs.\n"
        "Scores on rows that the search has seen mean nothing.",
    ),
]


def with_recipe(**arguments: str) -> str:
    """The recipe's text with further arguments."""
    return RECIPE.replace("Recipe(", "Recipe(" + "".join(f"{key}={value}, " for key, value in arguments.items()))


@pytest.mark.parametrize(("rows", "message"), BAD_SPLITS)
def test_bad_splits_are_refused(rows: list[dict[str, Any]], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        open_task(write_recipe(tmp_path, rows=rows))
    assert str(caught.value).replace(str(tmp_path), "").startswith(message)


GROUPED = [
    {**row, "topic": f"t{i // 4}", "split": ("train", "dev", "test")[i // 4 % 3]} for i, row in enumerate(make_rows(24))
]
BAD_GROUPS: list[tuple[list[dict[str, Any]], str]] = [
    (
        [*GROUPED, {"question": "q", "answer": "a", "topic": "t0", "split": "test"}],
        "/rows.jsonl, line 25 (test) and /rows.jsonl, line 1 (train) have the same topic.\n"
        'Recipe(group="topic") says that such rows belong together, in one split.\n'
        "Move one of them to the other's split, or leave group out.",
    ),
    (
        [{**row, "topics": i % 5} for i, row in enumerate(make_rows())],
        "Recipe(group='topic'): no row has the field topic.\n"
        "Did you mean topics? There is question, answer, topics.\nName a field of the rows, or leave group out.",
    ),
    (
        [{**row, "topic": "t"} for row in make_rows()],
        "Recipe(group='topic'): topic is the same in all 20 rows.\n"
        "Rows of one group stay in one split, and train, dev and test each need rows.",
    ),
]


@pytest.mark.parametrize(("rows", "message"), BAD_GROUPS)
def test_bad_groups_are_refused(rows: list[dict[str, Any]], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        open_task(write_recipe(tmp_path, with_recipe(group="'topic'"), rows))
    assert str(caught.value).replace(str(tmp_path), "").startswith(message)


def test_named_splits_that_keep_groups_are_taken(tmp_path: Path) -> None:
    splits = open_task(write_recipe(tmp_path, with_recipe(group="'topic'"), GROUPED)).splits
    assert [len(part) for part in (splits.train, splits.dev, splits.test)] == [8, 8, 8]


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("(1, -1, 1)", "does not divide the rows."),
        ("(0, 0, 0)", "does not divide the rows."),
        ("(30, 20, 10)", "asks for 60 rows of 50."),
    ],
)
def test_impossible_sizes_are_refused(split: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        open_task(write_recipe(tmp_path, with_recipe(split=split), make_rows(50)))
    assert caught.value.what == f"Recipe(split={split}) {message}"


def test_splits_are_seeded_disjoint_and_keep_groups(tmp_path: Path) -> None:
    rows = [{**row, "topic": f"t{i // 4}"} for i, row in enumerate(make_rows(80))]
    path = write_recipe(tmp_path, with_recipe(group="'topic'"), [*rows, rows[0]])
    first, again = (open_task(path).splits for _ in range(2))
    assert first.digests() == again.digests() and first.duplicates == 1
    topics = [{example.row["topic"] for example in part} for part in (first.train, first.dev, first.test)]
    assert not (topics[0] & topics[1] or topics[0] & topics[2] or topics[1] & topics[2])
    assert [len(part) for part in (first.train, first.dev, first.test)] == [40, 16, 24]
    other = open_task(path, split_seed=1).splits
    assert other.digests() != first.digests()


def test_two_groups_are_too_few_for_three_splits(tmp_path: Path) -> None:
    rows = [{**row, "topic": f"t{i % 2}"} for i, row in enumerate(make_rows(40))]
    with pytest.raises(UserError) as caught:
        open_task(write_recipe(tmp_path, with_recipe(group="'topic'"), rows))
    assert str(caught.value) == (
        "All 40 labelled rows are of 2 groups.\n"
        "Recipe(group='topic') keeps rows together, and train, dev and test each need a group of their own.\n"
        "Give rows of further groups, or name a field that tells more of them apart."
    )


def test_fewer_labelled_rows_may_name_their_splits(tmp_path: Path) -> None:
    rows = [{**row, "split": ("train", "dev", "test")[i % 3]} for i, row in enumerate(make_rows(6))]
    splits = open_task(write_recipe(tmp_path, rows=rows)).splits
    assert (len(splits.train), len(splits.dev), len(splits.test)) == (2, 2, 2)
    with pytest.raises(UserError, match="There are no dev rows"):
        open_task(write_recipe(tmp_path, rows=[row for row in rows if row["split"] != "dev"]))


def test_rows_that_name_their_split_keep_their_order_whatever_deals_the_others(tmp_path: Path) -> None:
    rows = [{**row, "split": ("train", "dev", "test")[i % 3]} for i, row in enumerate(make_rows(30))]
    splits = open_task(write_recipe(tmp_path, rows=rows)).splits
    asked = " ".join(example.row["question"] for example in splits.test)
    assert asked == "q20 q17 q23 q11 q14 q2 q26 q29 q8 q5"


def test_four_rows_of_each_of_ten_labels_leave_every_label_in_train(tmp_path: Path) -> None:
    rows = [{"question": f"q{i}", "answer": f"a{i % 10}"} for i in range(40)]
    for seed in range(20):
        splits = open_task(write_recipe(tmp_path, rows=rows), split_seed=seed).splits
        labels = [Counter(row.outputs["answer"] for row in part) for part in (splits.train, splits.dev, splits.test)]
        assert [sum(counts.values()) for counts in labels] == [20, 8, 12]
        assert set(labels[0].values()) == {2} and [len(counts) for counts in labels] == [10, 8, 10]


def test_split_sizes_may_be_counts(tmp_path: Path) -> None:
    splits = open_task(write_recipe(tmp_path, with_recipe(split="(10, 4, 6)"), make_rows(50))).splits
    assert (len(splits.train), len(splits.dev), len(splits.test)) == (10, 4, 6)


def test_unlabelled_rows_are_in_no_split(tmp_path: Path) -> None:
    opened = open_task(write_recipe(tmp_path, rows=[*make_rows(50), {"question": "unlabelled"}]))
    assert [example.inputs for example in opened.splits.unlabelled] == [{"question": "unlabelled"}]
    assert "1 unlabelled row, for distillation" in describe_splits(opened.splits, opened.recipe)


@pytest.mark.parametrize(("split", "lines"), [("(0.5, 0.2, 0.3)", 0), ("(10, 4, 6)", 1)])
def test_sizes_that_rows_overrule_are_reported(split: str, lines: int, tmp_path: Path) -> None:
    rows = [{**row, "split": ("train", "dev", "test")[i % 3]} for i, row in enumerate(make_rows(50))]
    opened = open_task(write_recipe(tmp_path, with_recipe(split=split), rows))
    overruled = [line for line in describe_splits(opened.splits, opened.recipe) if "split" in line]
    assert overruled == [f"Recipe(split={split}) is not used: the rows name their own split"] * lines
