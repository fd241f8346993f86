"""Rows are dealt into parts of their sizes, by whole groups, evenly over labels, and without favour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptstill import UserError
from promptstill.task.examples import Example
from promptstill.task.splits.deal import deal, deal_folds


def example(number: int, outputs: dict[str, Any], group: str = "") -> Example:
    return Example(str(number), f"row {number}", {"q": number}, outputs, {}, group or f"{number:04}")


def labelled(labels: str, groups: Sequence[str] = ()) -> list[Example]:
    """A row for each letter, which is its label."""
    return [example(n, {"label": label}, groups[n] if groups else "") for n, label in enumerate(labels)]


def labels_of(rows: Sequence[Example]) -> Counter[str]:
    return Counter(row.outputs["label"] for row in rows)


@given(
    labels=st.lists(st.sampled_from("abcd"), min_size=12, max_size=60),
    split=st.sampled_from([(5, 2, 3), (1, 1, 1), (8, 1, 1)]),
    seed=st.integers(0, 99),
)
def test_single_rows_fill_every_part_to_its_size_and_each_label_in_proportion(
    labels: list[str], split: tuple[int, ...], seed: int
) -> None:
    rows = labelled("".join(labels))
    first, second = (len(rows) * size // sum(split) for size in split[:2])
    sizes = [first, second, len(rows) - first - second]
    parts = deal(rows, sizes, seed)
    assert [len(part) for part in parts] == sizes
    assert sorted(row.id for part in parts for row in part) == sorted(row.id for row in rows)
    for part, size in zip(parts, sizes, strict=True):
        for label, count in labels_of(rows).items():
            assert abs(labels_of(part)[label] - count * size / len(rows)) < 2


@given(
    sizes=st.lists(st.integers(1, 9), min_size=3, max_size=20),
    labels=st.lists(st.sampled_from("ab"), min_size=180, max_size=180),
    seed=st.integers(0, 99),
)
def test_groups_stay_whole_and_no_part_is_empty(sizes: list[int], labels: list[str], seed: int) -> None:
    groups = [f"g{number}" for number, size in enumerate(sizes) for _ in range(size)]
    rows = labelled("".join(labels[: len(groups)]), groups)
    parts = deal(rows, [len(rows) // 2, len(rows) // 5, len(rows) - len(rows) // 2 - len(rows) // 5], seed)
    named = [{row.group for row in part} for part in parts]
    assert sum(map(len, named)) == len(set(groups)) and sum(map(len, parts)) == len(rows)
    assert all(named) or len(rows) < 5


def test_a_rare_label_goes_where_chance_puts_it() -> None:
    rows = labelled("a" * 30 + "bcdefg")
    where = Counter(
        number
        for seed in range(500)
        for number, part in enumerate(deal(rows, [18, 7, 11], seed))
        if "b" in labels_of(part)
    )
    assert sum(where.values()) == 500 and 200 < where[0] < 300 and 60 < where[1] < 140 and 110 < where[2] < 200


def test_the_order_of_the_rows_changes_nothing_in_the_deal() -> None:
    rows = labelled("aabbbcccc" * 4)
    parts, again = deal(rows, [18, 7, 11], 3), deal(rows[::-1], [18, 7, 11], 3)
    assert [[row.id for row in part] for part in parts] == [[row.id for row in part] for part in again]
    assert deal(rows, [18, 7, 11], 4) != parts


def test_rows_beyond_the_sizes_are_left_out_evenly_over_labels() -> None:
    parts = deal(labelled("a" * 30 + "b" * 20), [10, 5, 10], 0)
    assert [dict(labels_of(part)) for part in parts] == [{"a": 6, "b": 4}, {"a": 3, "b": 2}, {"a": 6, "b": 4}]


def test_the_first_output_with_few_values_is_the_label() -> None:
    rows = [example(n, {"note": f"text {n}", "urgent": n % 2 == 0, "team": n // 10}) for n in range(20)]
    for seed in range(10):
        assert all(sum(row.outputs["urgent"] for row in part) == 5 for part in deal(rows, [10, 10], seed))


def test_folds_are_equal_even_over_labels_and_shuffled() -> None:
    rows = labelled("abcdefghij" * 4 + "kk")
    folds = deal_folds(rows, 5, 0)
    assert sorted(map(len, folds)) == [8, 8, 8, 9, 9]
    assert sorted(row.id for fold in folds for row in fold) == sorted(row.id for row in rows)
    assert all(count == 1 for fold in folds for label, count in labels_of(fold).items())
    assert folds == deal_folds(rows[::-1], 5, 0) != deal_folds(rows, 5, 1)
    assert any(list(labels_of(fold)) != sorted(labels_of(fold)) for fold in folds)


def test_folds_hold_whole_groups_also_where_there_are_as_many_as_folds() -> None:
    groups = [f"g{min(number, 3)}" for number in range(20)]
    folds = deal_folds(labelled("ab" * 10, groups), 4, 0)
    assert sorted(map(len, folds)) == [1, 1, 1, 17]


@pytest.mark.parametrize(
    ("groups", "count", "told"),
    [
        (["x", "y"] * 6, 5, "2 groups of rows cannot make 5 folds.\nEach fold needs a group of its own"),
        (["x"] * 12, 5, "1 group of rows cannot make 5 folds."),
        (["x", "y"] * 6, 1, "2 groups of rows cannot make 1 fold."),
    ],
)
def test_too_few_groups_for_the_folds_are_refused(groups: list[str], count: int, told: str) -> None:
    with pytest.raises(UserError) as caught:
        deal_folds(labelled("ab" * 6, groups), count, 0)
    assert str(caught.value).startswith(told)
