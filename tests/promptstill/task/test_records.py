"""Rows that are in memory already: each kind of `examples` gives the rows that a list of dicts gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import dspy
import numpy as np
import pytest

from promptstill import Recipe, UserError, exact_match
from promptstill.prompt.layouts.task import Task
from promptstill.task.records import to_rows
from promptstill.task.splits import split_examples
from tests.support.recipe_file import make_rows

ROWS = [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]


@dataclass
class PandasFrame:
    """What a pandas data frame has of what is asked for; like it, it iterates over its columns."""

    columns: list[Any]
    cells: list[list[Any]]

    def to_dict(self, orient: str) -> list[dict[Any, Any]]:
        assert orient == "records"
        return [dict(zip(self.columns, row, strict=True)) for row in self.cells]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.columns)


class PolarsFrame(PandasFrame):
    def to_dict(self, *, as_series: bool = True) -> Any:  # type: ignore[override]  # as polars has it
        raise AssertionError("it returns columns")

    def to_dicts(self) -> list[dict[Any, Any]]:
        return super().to_dict("records")


@dataclass
class HubDataset:
    """A data set of Hugging Face: it iterates over dicts."""

    rows: list[dict[str, Any]]

    @property
    def column_names(self) -> list[str]:
        return list(self.rows[0])

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)


class NaTType:
    """What pandas has for a day that is missing; it is equal to nothing."""

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = object.__hash__


def frame(*cells: list[Any], columns: tuple[Any, ...] = ("text", "label")) -> PandasFrame:
    return PandasFrame(list(columns), list(cells))


@pytest.mark.parametrize(
    "examples",
    [
        ROWS,
        tuple(ROWS),
        iter(ROWS),
        frame(["a", "x"], ["b", "y"]),
        PolarsFrame(["text", "label"], [["a", "x"], ["b", "y"]]),
        HubDataset(ROWS),
        [dspy.Example(**row).with_inputs("text") for row in ROWS],
    ],
    ids=["list", "tuple", "iterator", "pandas", "polars", "datasets", "dspy"],
)
def test_every_kind_of_examples_gives_the_same_rows(examples: Any) -> None:
    assert [dict(row) for row in to_rows(examples)] == ROWS


def test_the_cells_of_a_frame_become_plain_values() -> None:
    cells = [np.int64(3), np.float64("nan"), None, NaTType(), np.bool_(True), np.array([1, 2]), datetime(2026, 4, 17)]
    more = [date(2026, 4, 18), datetime(2026, 4, 17, 9, 30), {"k": np.float32(0.5)}, ("a",)]
    [row] = to_rows(frame([*cells, *more], columns=tuple(range(11))))
    plain = [3, None, None, None, True, [1, 2], "2026-04-17", "2026-04-18", "2026-04-17T09:30:00", {"k": 0.5}, ["a"]]
    assert row == {str(number): value for number, value in enumerate(plain)}
    assert type(row["0"]) is int and row.location == "row 1"  # type: ignore[attr-defined]  # a TableRow


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        (frame(["a", "b"], columns=("text", "text")), "The data frame has two columns named text."),
        (frame(["a", Decimal(1)]), "row 1: label is Decimal."),
        ({"train": ROWS}, "examples is one mapping, with train."),
        ("mails.csv", "examples is str, not rows."),
        (3, "examples is int, not rows."),
        ([*ROWS, "c"], "row 3 is str, not a mapping of fields."),
    ],
)
def test_what_is_no_row_is_refused_by_number(examples: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        to_rows(examples)
    assert caught.value.what == message


def split(examples: Any, kind: type = str) -> Any:
    signature = dspy.Signature({"question": (str, dspy.InputField()), "answer": (kind, dspy.OutputField())}, "Answer.")
    recipe = Recipe(signature=signature, examples=examples, metric=exact_match("answer"))
    task = Task(signature, "model", 16)
    return split_examples(recipe, task.inputs, task.outputs, 0)


def test_a_frame_gives_the_splits_of_the_same_rows_as_dicts() -> None:
    rows = make_rows(40)
    table = frame(*[list(row.values()) for row in rows], columns=("question", "answer"))
    splits = [split(examples) for examples in (rows, table, [dspy.Example(**row) for row in rows])]
    assert splits[0].digests() == splits[1].digests() == splits[2].digests()
    assert splits[1].train[0].location.startswith("row ")


def test_a_column_of_integers_with_a_gap_has_integers_and_an_unlabelled_row() -> None:
    """pandas makes such a column one of floats."""
    table = frame(*[[f"q{n}", float(n)] for n in range(20)], ["q", float("nan")], columns=("question", "answer"))
    splits = split(table, int)
    assert len(splits.unlabelled) == 1 and splits.unlabelled[0].location == "row 21"
    assert {type(row.outputs["answer"]) for row in splits.train} == {int}
    with pytest.raises(UserError, match="row 1: question is float, not a string"):
        split(frame([0.5, 1], [1.5, 2], columns=("question", "answer")), int)
    with pytest.raises(UserError, match="row 2: question is empty"):
        split(frame(["a", 1], [None, 2], columns=("question", "answer")), int)
