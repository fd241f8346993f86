"""The dataset's files, and the unlabelled rows: rows that read back, rows that are refused, and how."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.teach.dataset import read_dataset, refuse_few_rows, to_training_rows, write_dataset
from distill.teach.example import completion
from distill.teach.filter import Accepted, Filtered, from_labels
from distill.teach.reasons import Reason, Rejected, count_reasons, reasons_line
from promptstill import UserError
from promptstill.errors import InfrastructureError
from promptstill.prompt.layouts.bare import bare_prompt
from promptstill.prompt.layouts.task import Task
from promptstill.prompt.prompt import Prompt
from promptstill.task.examples import Example
from tests.support.answers import Ask, example


class Sort(dspy.Signature):
    """Sort."""

    text: str = dspy.InputField()
    label: Literal["red", "deep blue"] = dspy.OutputField()
    count: int = dspy.OutputField()
    tags: list[str] = dspy.OutputField()
    note: str | None = dspy.OutputField()


TASK, SORT = Task(Ask, "fake", 16), Task(Sort, "fake", 64)


def accepted(rows: int, answer: str = "yes") -> list[Accepted]:
    return [Accepted(example(n), {"answer": answer}, "t", 0, 1.0, "teacher") for n in range(rows)]


@pytest.mark.parametrize("layout", ["raw", "chat"])
@settings(deadline=None)
@given(label=st.sampled_from(["red", "deep blue"]), count=st.integers(-99, 99), tags=st.lists(st.text(max_size=5)))
def test_a_training_row_reads_back_as_its_outputs(
    layout: Literal["raw", "chat"], label: str, count: int, tags: list[str]
) -> None:
    prompt = bare_prompt(SORT, layout)
    outputs = {"label": label, "count": count, "tags": tags, "note": None}
    row = Example("id", "row 1", {"text": "t"}, outputs, {}, "id")
    training_rows, rejected = to_training_rows(from_labels([row]), prompt)
    for one in training_rows:
        assert prompt.parse(one.example.completion) == outputs and one.example.source == "gold"
        assert one.example.messages == prompt.messages({"text": "t"})
    assert len(training_rows) + len(rejected) == 1 and (training_rows or any("\n\n" in tag for tag in tags))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("two\nlines", "answer is 'two\\nlines' and would be read as 'two'"),
        ("Answer: x", "answer is 'Answer: x' and would be read as 'x'"),
        ("", "the reply is empty"),
    ],
)
def test_what_the_student_would_not_read_back_is_rejected(answer: str, why: str) -> None:
    training_rows, rejected = to_training_rows(accepted(1, answer), bare_prompt(TASK))
    assert not training_rows and [str(one.reason) for one in rejected] == [f"does not read back: {why}"]


def test_the_files_give_back_the_same_rows(tmp_path: Path) -> None:
    prompt = bare_prompt(TASK)
    training_rows, _ = to_training_rows(
        [*accepted(3, "naïve \u2028 line"), *from_labels([example(9, "{gold}")])], prompt
    )
    rejected = [Rejected(example(5), 2, "txt", Reason("scored too low", "0.40 below 0.8"))]
    sha256 = write_dataset(tmp_path, training_rows, rejected)
    assert read_dataset(tmp_path / "dataset.jsonl", prompt, sha256) == training_rows
    rows = [json.loads(line) for line in (tmp_path / "dataset.jsonl").read_text(encoding="utf-8").split("\n")[:-1]]
    assert rows[3] == {
        "id": "id9",
        "where": "rows.jsonl, line 9",
        "inputs": {"question": "q9"},
        "outputs": {"answer": "{gold}"},
        "completion": " {gold}",
        "source": "gold",
        "score": None,
        "sample": None,
    }
    assert json.loads((tmp_path / "rejected.jsonl").read_text()) == {
        "where": "rows.jsonl, line 5",
        "sample": 2,
        "text": "txt",
        "reason": "scored too low",
        "detail": "0.40 below 0.8",
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset.jsonl", "rejected.jsonl"]


def test_a_changed_or_broken_dataset_is_refused(tmp_path: Path) -> None:
    prompt, path = bare_prompt(TASK), tmp_path / "dataset.jsonl"
    with pytest.raises(UserError, match=r"dataset\.jsonl does not exist\."):
        read_dataset(path, prompt)
    sha256 = write_dataset(tmp_path, to_training_rows(accepted(2), prompt)[0], [])
    path.write_text(path.read_text() + "{}\n")
    with pytest.raises(UserError, match=r"dataset\.jsonl was changed\."):
        read_dataset(path, prompt, sha256)
    with pytest.raises(
        UserError, match=r"dataset\.jsonl, line 3: not a row of this student's dataset\.\nKeyError: 'id'"
    ):
        read_dataset(path, prompt)
    other = prompt.model_copy(update={"inputs": bare_prompt(SORT).inputs})
    with pytest.raises(UserError, match=r"line 1: not a row .*\nUserError: Input text: missing\."):
        read_dataset(path, other)


def test_a_folder_that_takes_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file, no folder")
    with pytest.raises(InfrastructureError, match=r"dataset\.jsonl could not be written\."):
        write_dataset(tmp_path / "out", [], [])


def with_scores(best_scores: dict[str, float]) -> Filtered:
    return Filtered([], [], 0.8, best_scores)


def test_too_few_rows_are_refused_with_the_threshold_that_would_do() -> None:
    rows = {f"id{n}": n / 40 for n in range(32)}
    with pytest.raises(UserError, match=r"A lower threshold, --keep 0\.3, would keep 20 rows, wrong answers"):
        refuse_few_rows([], [], with_scores(rows))
    for useless in ({}, dict.fromkeys(rows, 0.0), dict.fromkeys(rows, 0.8), {"id1": 0.5}):
        with pytest.raises(UserError, match=r"or give more rows\.$"):
            refuse_few_rows([], [], with_scores(useless))


def test_too_few_rows_are_refused_with_the_counts() -> None:
    prompt: Prompt = bare_prompt(TASK)
    rejected = [Rejected(example(1), n, "", Reason("scored too low", "x")) for n in range(40)]
    rejected += [Rejected(example(2), 0, "", Reason("unparsed"))]
    assert count_reasons(rejected) == {"scored too low": 40, "unparsed": 1} and reasons_line([]) == "none"
    with pytest.raises(UserError) as caught:
        refuse_few_rows([], rejected, with_scores({}))
    assert str(caught.value) == (
        "No training row survives the filter; a student needs 20.\n"
        "Rejected answers: 40 scored too low, 1 unparsed.\n"
        "Train on labels too with --gold, ask for more answers with -k, or give more rows."
    )
    with pytest.raises(UserError, match="Only 1 training row survives the filter"):
        refuse_few_rows(to_training_rows(accepted(1) * 30, prompt)[0], rejected, with_scores({}))
    with pytest.raises(UserError, match="Only 19 training rows survive the filter"):
        refuse_few_rows(to_training_rows(accepted(19), prompt)[0], rejected, with_scores({}))
    refuse_few_rows(to_training_rows(accepted(20), prompt)[0], rejected, with_scores({}))
    assert completion(prompt, {"answer": "yes"}) == " yes"
