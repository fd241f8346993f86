"""Labels that are spelled in two ways are named with their rows, in outputs of free text alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptstill.task.open import open_task
from promptstill.task.spelling import spelling_warnings
from tests.support.recipe_file import RECIPE, write_recipe


def warnings(folder: Path, labels: list[str], kind: str = "str") -> list[str]:
    rows = [{"question": f"q{n}", "answer": label} for n, label in enumerate(labels)]
    text = RECIPE.replace("answer: str", f"answer: {kind}").replace("import dspy", "import dspy\nfrom typing import *")
    opened = open_task(write_recipe(folder, text, rows))
    splits = opened.splits
    examples = sorted([*splits.train, *splits.dev, *splits.test], key=lambda one: int(one.inputs["question"][1:]))
    return [line.replace(f"{folder}/", "") for line in spelling_warnings(examples, opened.task.outputs)]


def test_another_spelling_is_named_with_its_first_row(tmp_path: Path) -> None:
    labels = ["Refund"] * 10 + ["refund "] + ["other"] * 8 + ["ot-her"] * 2
    assert warnings(tmp_path, labels) == [
        "answer: 'refund ' (1 row, the first is rows.jsonl, line 11) is another spelling of 'Refund'; "
        "one label should have one spelling",
        "answer: 'ot-her' (2 rows, the first is rows.jsonl, line 20) is another spelling of 'other'; "
        "one label should have one spelling",
    ]


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (["a", "b", "+", "-"] * 5, "str"),
        ([f"answer {n}" for n in range(19)] + ["Answer 1"], "str"),
        (["Yes", "no"] * 9 + ["yes"], "Literal['Yes', 'no']"),
    ],
    ids=["labels that differ", "texts", "Literal"],
)
def test_what_is_no_second_spelling_is_not_named(labels: list[str], kind: str, tmp_path: Path) -> None:
    assert warnings(tmp_path, labels, kind) == []


def test_many_spellings_are_counted(tmp_path: Path) -> None:
    lines = warnings(tmp_path, [f"l{n}" for n in range(8)] * 3 + [f"L{n}" for n in range(8)])
    assert len(lines) == 6 and lines[-1] == "and 3 more labels spelled in two ways"
