"""What columns hold, and the names that their fields can have."""

from __future__ import annotations

from typing import Any

import pytest

from promptstill.task.draft.columns import Column, find_columns


def column(*values: Any, name: str = "x") -> Column:
    return Column(name, name, values)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (("true", "False", None), "flag"),
        ((True, False), "flag"),
        (("3", "-4", "1,200"), "integer"),
        ((3, 4), "integer"),
        (("3.5", "4", "1,200.25"), "number"),
        (("3,5", "4"), "text"),
        (("007", "008"), "text"),
        (("17.04.2026", "2026-04-17 10:00", "4/17/2026"), "date"),
        (("17.04.2026", "soon"), "text"),
        ((None, None), "empty"),
        ((["a"], ["b"]), "mixed"),
        (("a", 1), "mixed"),
    ],
)
def test_the_kind_is_found_from_all_values(values: tuple[Any, ...], kind: str) -> None:
    assert column(*values).kind == kind


def test_labels_repeat_are_few_and_have_one_spelling() -> None:
    assert column(*["bug"] * 3, *["Sale"] * 4, "sale.", " bug ").labels == ("Sale", "bug")
    assert column(*["1", "2"] * 3).labels == ("1", "2")
    assert column(*"abc").labels == (), "each is there once"
    assert column(*["x" * 61, "y"] * 4).labels == () and column(*["a\nb", "y"] * 4).labels == ()
    assert len(column(*[f"l{n}" for n in range(50)] * 2).labels) == 50
    assert column(*[f"l{n}" for n in range(51)] * 2).labels == ()
    assert column(*["same"] * 9).labels == ()


def test_every_name_becomes_a_field_of_its_own() -> None:
    names = ["text", "Mail text", "class", "Größe", "2nd", "本文", "x", "{x}", "model_a", "copy", "split", "a-b", "a b"]
    fields = [one.field for one in find_columns([dict.fromkeys(names, "v")])]
    assert fields == [
        *("text", "mail_text", "class_", "groe", "column_2nd", "column", "x", "x_2", "model_a_", "copy_", "split_"),
        *("a_b", "a_b_2"),
    ]


def test_rows_that_lack_a_column_are_counted() -> None:
    first, second = find_columns([{"a": 1}, {"a": 2, "b": 3}])
    assert (first.absent, second.absent, second.values) == (0, 1, (None, 3))
