"""From answers to lessons: what the ladder keeps, what the files hold, and which rows are refused, and how."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.dataset import compose, read_dataset, refuse_few, write_dataset
from distill.ladder import Kept, Rules, Sifted, default_keep, labels, normalised, sift
from distill.reasons import Reason, Rejected, counted, listed
from distill.student import completion
from distill.teacher import Answer
from distill.unlabelled import merge, read_unlabelled
from optimizer import Recipe, UserError, exact_match, token_f1
from optimizer.errors import InfrastructureError
from optimizer.examples import Example, Splits
from optimizer.layouts import Task, bare
from optimizer.prompt import Prompt


class Ask(dspy.Signature):
    """Answer."""

    question: str = dspy.InputField()
    answer: str = dspy.OutputField()


class Sort(dspy.Signature):
    """Sort."""

    text: str = dspy.InputField()
    label: Literal["red", "deep blue"] = dspy.OutputField()
    count: int = dspy.OutputField()
    tags: list[str] = dspy.OutputField()
    note: str | None = dspy.OutputField()


TASK, SORT = Task(Ask, "fake", 16), Task(Sort, "fake", 64)
EXACT = exact_match("answer")


def example(number: int, answer: str | None = None) -> Example:
    inputs = {"question": f"q{number}"}
    outputs = {} if answer is None else {"answer": answer}
    return Example(f"id{number}", f"rows.jsonl, line {number}", inputs, outputs, {**inputs, **outputs})


def says(row: Example, *texts: str | None) -> list[Answer]:
    """A row's answers, the greedy one first; None is an unparsed reply."""
    bad = Reason("unparsed", "the reply is empty")
    return [
        Answer(row, n, text or "", None if text is None else {"answer": text}, bad if text is None else None)
        for n, text in enumerate(texts)
    ]


def kept(sifted: Sifted) -> list[tuple[str, int | None]]:
    return [(one.outputs["answer"], one.sample) for one in sifted.kept]


def reasons(sifted: Sifted) -> list[str]:
    return [str(one.reason) for one in sifted.rejected]


def test_a_labelled_row_keeps_what_the_metric_calls_right() -> None:
    sifted = sift(says(example(1, "Rye"), "rye", "wheat", None, "Rye."), EXACT, ["answer"], Rules())
    assert kept(sifted) == [("rye", 0)] and sifted.keep == 1.0 and sifted.kept[0].score == 1.0
    assert reasons(sifted) == [
        "unparsed: the reply is empty",
        "scored too low: 0.00 below 1",
        "duplicate of a kept answer",
    ]


def test_the_greedy_answer_comes_first_then_score_then_frequency() -> None:
    row = example(1, "the old stone bridge of Arden")
    texts = [
        "stone bridge of Arden",
        "old stone bridge",
        "bridge of Arden",
        "old stone bridge of Arden",
        "bridge of Arden",
    ]
    metric = token_f1("answer")
    two = sift(says(row, *texts), metric, ["answer"], Rules(keep=0.5, most=2))
    assert kept(two) == [("stone bridge of Arden", 0), ("old stone bridge of Arden", 3)]
    assert sorted(reasons(two)) == ["more than -m answers"] * 3
    three = sift(says(row, *texts), metric, ["answer"], Rules(keep=0.5, most=3))
    assert kept(three)[2] == ("bridge of Arden", 2), "of two that score alike, the one given twice"
    assert sorted(reasons(three)) == ["duplicate of a kept answer", "more than -m answers"]


def test_the_threshold_follows_the_metrics_scores() -> None:
    assert default_keep([0.0, 1.0, 1.0]) == 1.0 and default_keep([0.0, 0.5]) == 0.8
    f1 = sift(says(example(1, "one two three"), "one two", "one"), token_f1("answer"), ["answer"], Rules())
    assert f1.keep == 0.8 and kept(f1) == [("one two", 0)] and reasons(f1) == ["scored too low: 0.50 below 0.8"]


VOTES = [
    (["a", "a", "a", "a", "b"], [("a", 0)], ["duplicate of a kept answer"] * 3 + ["outvoted: 1 of 5"]),
    (["b", "A", "a", "a.", "c"], [("A", 1)], ["duplicate of a kept answer"] * 2 + ["outvoted: 1 of 5"] * 2),
    (["a", "a", "a", "b", "b"], [], ["no majority: 3 of 5"] * 5),
    (["a", "a", "b", "b", "c"], [], ["no majority: 2 of 5"] * 5),
    (["a", None, None, None, None], [], ["no majority: 1 of 5"] + ["unparsed: the reply is empty"] * 4),
    ([None, None], [], ["unparsed: the reply is empty"] * 2),
    (["a"], [("a", 0)], []),
]


@pytest.mark.parametrize(("texts", "expected", "why"), VOTES)
def test_an_unlabelled_row_keeps_what_its_answers_agree_on(
    texts: list[str | None], expected: list[tuple[str, int]], why: list[str]
) -> None:
    sifted = sift(says(example(1), *texts), EXACT, ["answer"], Rules())
    assert kept(sifted) == expected and sorted(reasons(sifted)) == sorted(why)
    assert all(one.score is None for one in sifted.kept)


def test_a_judge_scores_unlabelled_rows_too() -> None:
    def judge(row: Any, prediction: Any) -> float:
        return 1.0 if prediction["answer"] == "b" else 0.0

    judge.judge = True  # type: ignore[attr-defined]
    sifted = sift(says(example(1), "a", "a", "a", "b"), judge, ["answer"], Rules())
    assert kept(sifted) == [("b", 3)] and reasons(sifted) == ["scored too low: 0.00 below 1"] * 3


def test_gold_adds_only_what_the_teacher_never_got_right() -> None:
    answers = says(example(1, "x"), "x") + says(example(2, "y"), "no", "no") + says(example(3), "a", "b")
    assert [one.source for one in sift(answers, EXACT, ["answer"], Rules()).kept] == ["teacher"]
    sifted = sift(answers, EXACT, ["answer"], Rules(gold=True))
    assert [(one.source, one.outputs["answer"]) for one in sifted.kept] == [("teacher", "x"), ("gold", "y")]
    assert [one.outputs["answer"] for one in labels([example(1, "x"), example(2)])] == ["x"]


def test_the_teachers_reasoning_is_not_learned_and_splits_no_vote() -> None:
    row = example(1)
    thoughts = [{"reasoning": f"because {n}", "answer": "a"} for n in range(3)]
    sifted = sift([Answer(row, n, "", t, None) for n, t in enumerate(thoughts)], EXACT, ["answer"], Rules())
    assert [dict(one.outputs) for one in sifted.kept] == [{"answer": "a"}] and len(sifted.rejected) == 2


def test_a_metric_that_fails_names_the_row() -> None:
    with pytest.raises(UserError, match=r"raised ZeroDivisionError on rows\.jsonl, line 1"):
        sift(says(example(1, "x"), "y"), lambda row, prediction: 1 / 0, ["answer"], Rules())


texts = st.lists(st.one_of(st.none(), st.sampled_from(["a", "A.", "b", "c", "a b", "C++"])), min_size=1, max_size=7)


@settings(deadline=None)
@given(rows=st.lists(st.tuples(texts, st.sampled_from([None, "a", "b"])), max_size=6), most=st.integers(1, 3))
def test_every_answer_is_kept_or_rejected_once(rows: Sequence[tuple[list[str | None], str | None]], most: int) -> None:
    answers = [a for n, (said, label) in enumerate(rows) for a in says(example(n, label), *said)]
    sifted = sift(answers, EXACT, ["answer"], Rules(most=most))
    both = [(k.example.id, k.sample) for k in sifted.kept] + [(r.example.id, r.sample) for r in sifted.rejected]
    assert sorted(both, key=str) == sorted(((a.example.id, a.sample) for a in answers), key=str)
    for n, (_, label) in enumerate(rows):
        mine = [one for one in sifted.kept if one.example.id == f"id{n}"]
        assert len(mine) <= (most if label else 1)
        assert len({normalised(one.outputs) for one in mine}) == len(mine)


def test_symbols_keep_answers_apart() -> None:
    assert normalised({"a": "C++"}) != normalised({"a": "C"}) and normalised({"a": ' "Rye  bread." '}) == normalised(
        {"a": "rye bread"}
    )


# ---- dataset


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
    row = Example("id", "row 1", {"text": "t"}, outputs, {})
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


def test_too_few_rows_are_refused_with_the_counts() -> None:
    prompt: Prompt = bare(TASK)
    rejected = [Rejected(example(1), n, "", Reason("scored too low", "x")) for n in range(40)]
    rejected += [Rejected(example(2), 0, "", Reason("unparsed"))]
    assert counted(rejected) == {"scored too low": 40, "unparsed": 1} and listed([]) == "none"
    with pytest.raises(UserError) as caught:
        refuse_few([], rejected)
    assert str(caught.value) == (
        "No training row survives the filter; a student needs 20.\n"
        "Rejected answers: 40 scored too low, 1 unparsed.\n"
        "Lower --keep, learn from labels with --gold, ask for more answers with -k, or give more rows."
    )
    with pytest.raises(UserError, match="Only 1 training row survives the filter"):
        refuse_few(compose(keeps(1) * 30, prompt)[0], rejected)
    with pytest.raises(UserError, match="Only 19 training rows survive the filter"):
        refuse_few(compose(keeps(19), prompt)[0], rejected)
    refuse_few(compose(keeps(20), prompt)[0], rejected)
    assert completion(prompt, {"answer": "yes"}) == " yes"


# ---- unlabelled rows

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
