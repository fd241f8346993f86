"""Which columns come in, which goes out, and what is said of the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from promptstill import UserError
from promptstill.task.draft.columns import find_columns
from promptstill.task.draft.proposal import Proposal, describe_proposal, propose

LABELS = ("billing", "bug", "shipping")
MAKE: dict[str, Callable[[int], Any]] = {
    "id": lambda n: f"M{n:04}",
    "number": lambda n: str(n + 1),
    "received": lambda n: f"{n % 28 + 1:02}.04.2026",
    "customer": lambda n: f"c{n % 20}",
    "subject": lambda n: f"About thing {n}",
    "body": lambda n: f"Dear all, this is the text number {n}.",
    "passage": lambda n: f"This is the long passage number {n // 4}.",
    "channel": lambda n: ("mail", "chat")[n % 2],
    "category": lambda n: LABELS[n % 3],
    "kind": lambda n: LABELS[n % 3],
    "priority": lambda n: ("high", "low")[n % 2],
    "reply": lambda n: f"Thank you for the text number {n}.",
    "rest": lambda n: f"So it is with number {n}, and with the others.",
    "amount": lambda n: f"{n}.5",
    "empty": lambda n: None,
    "shop": lambda n: "main",
    "split": lambda n: ("train", "dev", "test")[n % 3],
}


def proposal(*names: str, rows: int = 60, **others: Callable[[int], Any]) -> Proposal:
    make = {**{name: MAKE[name] for name in names}, **others}
    return propose(find_columns([{name: cell(n) for name, cell in make.items()} for n in range(rows)]), "rows.csv")


@pytest.mark.parametrize(
    ("names", "inputs", "output"),
    [
        (("category", "body"), ["body"], "category"),
        (("body", "reply"), ["body"], "reply"),
        (("body", "kind", "rest"), ["body", "rest"], "kind"),
        (("body", "channel", "kind"), ["body", "kind"], "channel"),
        (("body", "rest"), ["body"], "rest"),
        (("subject", "body", "amount"), ["subject", "body"], "amount"),
        (("channel", "body", "category"), ["channel", "body"], "category"),
        (("id", "received", "customer", "subject", "body", "category"), ["subject", "body"], "category"),
        (("id", "category"), ["id"], "category"),
    ],
)
def test_inputs_and_output(names: tuple[str, ...], inputs: list[str], output: str) -> None:
    found = proposal(*names)
    assert ([one.name for one in found.inputs], found.output.name) == (inputs, output)


def test_every_column_that_is_left_out_has_its_reason() -> None:
    names = ("id", "number", "received", "customer", "empty", "shop", "priority", "body", "category")
    found = proposal(*names, notes=lambda n: [n])
    assert {one.column.name: one.reason for one in found.omissions} == {
        "id": "a code of its own in every row",
        "number": "it counts the rows",
        "received": "dates",
        "customer": "codes",
        "empty": "empty",
        "shop": "the same value in every row",
        "priority": "likely another answer, not known beforehand",
        "notes": "values of several types, lists or objects",
    }
    assert found.group is not None and found.group.name == "customer"


def test_a_group_is_proposed_where_its_rows_can_be_divided() -> None:
    assert proposal("passage", "body", "category").group.name == "passage"  # type: ignore[union-attr]  # there is one
    assert proposal("body", "category").group is None
    few = proposal("body", "category", customer_id=lambda n: f"c{n % 3}")
    assert few.group is None and [one.name for one in few.suspects] == ["customer_id"]
    crossed = proposal("customer", "category", body=lambda n: f"this text stands in {n % 30} two rows", rows=70)
    assert crossed.group is None, "the same inputs are in two groups, which no split could hold"


def test_duplicates_conflicts_and_unlabelled_rows_are_counted() -> None:
    label = {0: "a", 1: "a", 2: "b", 3: None}
    found = proposal(text=lambda n: f"this is the text number {n // 4}", label=lambda n: label[n % 4])
    assert (found.duplicates, found.conflicts, found.unlabelled) == (15, 15, 15)
    lines = list(describe_proposal(found, "rows.csv"))
    assert lines == [
        "rows.csv: 60 rows",
        "in: text (text)",
        "out: label (2 labels: a or b)",
        "metric: exact_match",
        "15 rows without label, for distillation",
        "15 rows equal to another",
        "the same input with different label: 15 times",
    ]


def test_the_rows_own_split_is_kept_and_another_column_of_that_name_is_renamed() -> None:
    own = proposal("body", "category", "split")
    assert own.split is not None and own.rename == {} and [one.name for one in own.inputs] == ["body"]
    other = proposal("body", "category", split=lambda n: f"{n} halves of it")
    assert other.split is None and other.rename == {"split": "split_"}


@pytest.mark.parametrize(
    ("labels", "collide"),
    [(("-1", "0", "1"), True), (("+", "-"), True), (("A", "the"), True), (("1", "2"), False), (LABELS, False)],
)
def test_values_that_exact_match_cannot_tell_apart_get_another_metric(labels: tuple[str, ...], collide: bool) -> None:
    assert proposal("body", label=lambda n: labels[n % len(labels)]).needs_own_metric == collide


def test_rows_with_one_column_are_refused_with_its_name() -> None:
    with pytest.raises(UserError) as caught:
        proposal("body")
    assert caught.value.what == "rows.csv has 1 column, body: too few for a task."
    with pytest.raises(UserError, match="of shop, category, category is the output"):
        proposal("shop", "category")
