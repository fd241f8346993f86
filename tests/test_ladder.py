"""The filter ladder: what it keeps, by score, by vote or by a judge, and that every answer ends in one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.ladder import Rules, Sifted, default_keep, labels, normalised, sift
from distill.reasons import Reason
from distill.teacher import Answer
from optimizer import UserError, exact_match, token_f1
from optimizer.errors import ReplyError
from optimizer.examples import Example


class Ask(dspy.Signature):
    """Answer."""

    question: str = dspy.InputField()
    answer: str = dspy.OutputField()


EXACT = exact_match("answer")


def example(number: int, answer: str | None = None) -> Example:
    inputs = {"question": f"q{number}"}
    outputs = {} if answer is None else {"answer": answer}
    return Example(f"id{number}", f"rows.jsonl, line {number}", inputs, outputs, {**inputs, **outputs}, f"id{number}")


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


def test_a_tie_is_no_majority_at_any_margin() -> None:
    assert not sift(says(example(1), "a", "b"), EXACT, ["answer"], Rules(margin=0.0)).kept
    assert kept(sift(says(example(1), "a", "b", "a"), EXACT, ["answer"], Rules(margin=0.0))) == [("a", 0)]


def test_a_judge_scores_unlabelled_rows_too() -> None:
    def judge(row: Any, prediction: Any) -> float:
        return 1.0 if prediction["answer"] == "b" else 0.0

    judge.judge = True  # type: ignore[attr-defined]  # a function takes any, its type none
    sifted = sift(says(example(1), "a", "a", "a", "b"), judge, ["answer"], Rules())
    assert kept(sifted) == [("b", 3)] and reasons(sifted) == ["scored too low: 0.00 below 1"] * 3


def test_an_answer_without_a_mark_is_not_learned() -> None:
    def judge(row: Any, prediction: Any) -> float:
        if prediction["answer"] == "a":
            raise ReplyError("no mark")
        return 1.0

    judge.judge = True  # type: ignore[attr-defined]  # a function takes any, its type none
    sifted = sift(says(example(1), "a", "b"), judge, ["answer"], Rules())
    assert kept(sifted) == [("b", 1)] and len(sifted.rejected) == 1


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
