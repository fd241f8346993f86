"""The dataset's files and the unlabelled rows: lessons that read back, rows that are refused, and how."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.dataset import compose, read_dataset, refuse_few, write_dataset
from distill.ladder import Kept, Sifted, labels
from distill.reasons import Reason, Rejected, counted, listed
from distill.student import completion
from distill.unlabelled import merge, read_unlabelled
from optimizer import Recipe, UserError
from optimizer.errors import InfrastructureError
from optimizer.examples import Example, Splits
from optimizer.layouts import Task, bare
from optimizer.prompt import Prompt
from tests.test_ladder import EXACT, Ask, example


class Sort(dspy.Signature):
    """Sort."""

    text: str = dspy.InputField()
    label: Literal["red", "deep blue"] = dspy.OutputField()
    count: int = dspy.OutputField()
    tags: list[str] = dspy.OutputField()
    note: str | None = dspy.OutputField()


TASK, SORT = Task(Ask, "fake", 16), Task(Sort, "fake", 64)


def keeps(rows: int, answer: str = "yes") -> list[Kept]:
    return [Kept(example(n), {"answer": answer}, "t", 0, 1.0, "teacher") for n in range(rows)]


@pytest.mark.parametrize("layout", ["raw", "chat"])
@settings(deadline=None)
@given(label=st.sampled_from(["red", "deep blue"]), count=st.integers(-99, 99), tags=st.lists(st.text(max_size=5)))
def test_a_lesson_reads_back_as_its_outputs(
    layout: Literal["raw", "chat"], label: str, count: int, tags: list[str]
) -> None:
    prompt = bare(SORT, layout)
    outputs = {"label": label, "count": count, "tags": tags, "note": None}
    row = Example("id", "row 1", {"text": "t"}, outputs, {}, "id")
    entries, rejected = compose(labels([row]), prompt)
    for entry in entries:
        assert prompt.parse(entry.lesson.completion) == outputs and entry.lesson.source == "gold"
        assert entry.lesson.messages == prompt.messages({"text": "t"})
    assert len(entries) + len(rejected) == 1 and (entries or any("\n\n" in tag for tag in tags))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("two\nlines", "answer is 'two\\nlines' and would be read as 'two'"),
        ("Answer: x", "answer is 'Answer: x' and would be read as 'x'"),
        ("", "the reply is empty"),
    ],
)
def test_what_the_student_would_not_read_back_is_rejected(answer: str, why: str) -> None:
    entries, rejected = compose(keeps(1, answer), bare(TASK))
    assert not entries and [str(one.reason) for one in rejected] == [f"does not read back: {why}"]


def test_the_files_bring_back_the_same_lessons(tmp_path: Path) -> None:
    prompt = bare(TASK)
    entries, _ = compose([*keeps(3, "naïve \u2028 line"), *labels([example(9, "{gold}")])], prompt)
    rejected = [Rejected(example(5), 2, "txt", Reason("scored too low", "0.40 below 0.8"))]
    sha256 = write_dataset(tmp_path, entries, rejected)
    assert read_dataset(tmp_path / "dataset.jsonl", prompt, sha256) == entries
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
    prompt, path = bare(TASK), tmp_path / "dataset.jsonl"
    with pytest.raises(UserError, match=r"dataset\.jsonl does not exist\."):
        read_dataset(path, prompt)
    sha256 = write_dataset(tmp_path, compose(keeps(2), prompt)[0], [])
    path.write_text(path.read_text() + "{}\n")
    with pytest.raises(UserError, match=r"dataset\.jsonl was changed\."):
        read_dataset(path, prompt, sha256)
    with pytest.raises(
        UserError, match=r"dataset\.jsonl, line 3: not a row of this student's dataset\.\nKeyError: 'id'"
    ):
        read_dataset(path, prompt)
    other = prompt.model_copy(update={"inputs": bare(SORT).inputs})
    with pytest.raises(UserError, match=r"line 1: not a row .*\nUserError: Input text: missing\."):
        read_dataset(path, other)


def test_a_folder_that_takes_no_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file, no folder")
    with pytest.raises(InfrastructureError, match=r"dataset\.jsonl could not be written\."):
        write_dataset(tmp_path / "out", [], [])


def scored(best: dict[str, float]) -> Sifted:
    return Sifted([], [], 0.8, best)


def test_too_few_rows_are_told_the_threshold_that_would_do() -> None:
    rows = {f"id{n}": n / 40 for n in range(32)}
    with pytest.raises(UserError, match=r"A lower bar, --keep 0\.3, would let 20 rows through, wrong answers"):
        refuse_few([], [], scored(rows))
    for useless in ({}, dict.fromkeys(rows, 0.0), dict.fromkeys(rows, 0.8), {"id1": 0.5}):
        with pytest.raises(UserError, match=r"or give more rows\.$"):
            refuse_few([], [], scored(useless))


def test_too_few_rows_are_refused_with_the_counts() -> None:
    prompt: Prompt = bare(TASK)
    rejected = [Rejected(example(1), n, "", Reason("scored too low", "x")) for n in range(40)]
    rejected += [Rejected(example(2), 0, "", Reason("unparsed"))]
    assert counted(rejected) == {"scored too low": 40, "unparsed": 1} and listed([]) == "none"
    with pytest.raises(UserError) as caught:
        refuse_few([], rejected, scored({}))
    assert str(caught.value) == (
        "No training row survives the filter; a student needs 20.\n"
        "Rejected answers: 40 scored too low, 1 unparsed.\n"
        "Learn from labels with --gold, ask for more answers with -k, or give more rows."
    )
    with pytest.raises(UserError, match="Only 1 training row survives the filter"):
        refuse_few(compose(keeps(1) * 30, prompt)[0], rejected, scored({}))
    with pytest.raises(UserError, match="Only 19 training rows survive the filter"):
        refuse_few(compose(keeps(19), prompt)[0], rejected, scored({}))
    refuse_few(compose(keeps(20), prompt)[0], rejected, scored({}))
    assert completion(prompt, {"answer": "yes"}) == " yes"


RECIPE = Recipe(signature=Ask, examples=[], metric=EXACT)


def more(path: Path, *lines: str) -> list[Example]:
    path.write_text("".join(line + "\n" for line in lines))
    return read_unlabelled(path, RECIPE, TASK.inputs, TASK.outputs)


def test_unlabelled_rows_are_read_and_none_comes_twice(tmp_path: Path) -> None:
    rows = more(
        tmp_path / "more.jsonl", *(json.dumps({"question": q, "answer": None}) for q in ("q1", "q7", "q7", "q8"))
    )
    assert rows[1].where == f"{tmp_path}/more.jsonl, line 2" and rows[0].outputs == {}
    splits = Splits([example(1, "a")], [], [], [example(8)], 0)
    merged, left_out = merge(splits, rows)
    assert [one.inputs["question"] for one in merged] == ["q8", "q7"] and left_out == 3
    assert merge(replace(splits, unlabelled=[]), []) == ([], 0)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "{path}, line 2: not JSON."),
        ("[1]", "{path}, line 2: not a JSON object."),
        ('{"text": "x"}', "{path}, line 2: no field question.\nThe row has text."),
        ('{"question": 4}', "{path}, line 2: question is int, not a string."),
        (
            '{"question": "q", "answer": "a"}',
            "{path}, line 2: the row has the output answer.\n"
            "--unlabelled takes rows with inputs only, so its label would be ignored.\n"
            "Remove answer from it, or move the row to the recipe's data.",
        ),
    ],
)
def test_a_bad_unlabelled_row_is_named(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "more.jsonl"
    with pytest.raises(UserError) as caught:
        more(path, '{"question": "fine"}', line)
    assert str(caught.value).startswith(message.replace("{path}", str(path)))


def test_a_missing_or_empty_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read_unlabelled(tmp_path / "none.jsonl", RECIPE, TASK.inputs, TASK.outputs)
    assert caught.value.what == f"--unlabelled {tmp_path}/none.jsonl does not exist."
    with pytest.raises(UserError, match=r"more\.jsonl is empty\."):
        more(tmp_path / "more.jsonl")
