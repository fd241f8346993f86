"""The filter: what it accepts, by score, by vote or by a judge, and that every answer is accepted or rejected once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.teach.filter import Filtered, FilterRules, default_min_score, filter_answers, from_labels, normalised
from distill.teach.reasons import Reason
from distill.teach.teacher import TeacherAnswer
from promptstill import UserError, token_f1
from promptstill.errors import ReplyError
from promptstill.task.examples import Example
from tests.support.answers import EXACT, example


def replies(row: Example, *texts: str | None) -> list[TeacherAnswer]:
    """A row's answers, the greedy one first; None is an unparsed reply."""
    bad = Reason("unparsed", "the reply is empty")
    return [
        TeacherAnswer(row, n, text or "", None if text is None else {"answer": text}, bad if text is None else None)
        for n, text in enumerate(texts)
    ]


def accepted(filtered: Filtered) -> list[tuple[str, int | None]]:
    return [(one.outputs["answer"], one.sample) for one in filtered.accepted]


def reasons(filtered: Filtered) -> list[str]:
    return [str(one.reason) for one in filtered.rejected]


def test_a_labelled_row_keeps_what_the_metric_calls_right() -> None:
    filtered = filter_answers(
        replies(example(1, "Rye"), "rye", "wheat", None, "Rye."), EXACT, ["answer"], FilterRules()
    )
    assert accepted(filtered) == [("rye", 0)] and filtered.min_score == 1.0 and filtered.accepted[0].score == 1.0
    assert reasons(filtered) == [
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
    two = filter_answers(replies(row, *texts), metric, ["answer"], FilterRules(min_score=0.5, max_per_row=2))
    assert accepted(two) == [("stone bridge of Arden", 0), ("old stone bridge of Arden", 3)]
    assert sorted(reasons(two)) == ["more than -m answers"] * 3
    three = filter_answers(replies(row, *texts), metric, ["answer"], FilterRules(min_score=0.5, max_per_row=3))
    assert accepted(three)[2] == ("bridge of Arden", 2), "of two that score alike, the one given twice"
    assert sorted(reasons(three)) == ["duplicate of a kept answer", "more than -m answers"]


def test_the_threshold_follows_the_metrics_scores() -> None:
    assert default_min_score([0.0, 1.0, 1.0]) == 1.0 and default_min_score([0.0, 0.5]) == 0.8
    f1 = filter_answers(
        replies(example(1, "one two three"), "one two", "one"), token_f1("answer"), ["answer"], FilterRules()
    )
    assert (
        f1.min_score == 0.8 and accepted(f1) == [("one two", 0)] and reasons(f1) == ["scored too low: 0.50 below 0.8"]
    )


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
    filtered = filter_answers(replies(example(1), *texts), EXACT, ["answer"], FilterRules())
    assert accepted(filtered) == expected and sorted(reasons(filtered)) == sorted(why)
    assert all(one.score is None for one in filtered.accepted)


def test_a_tie_is_no_majority_at_any_margin() -> None:
    assert not filter_answers(replies(example(1), "a", "b"), EXACT, ["answer"], FilterRules(margin=0.0)).accepted
    assert accepted(filter_answers(replies(example(1), "a", "b", "a"), EXACT, ["answer"], FilterRules(margin=0.0))) == [
        ("a", 0)
    ]


def test_a_judge_scores_unlabelled_rows_too() -> None:
    def judge(row: Any, prediction: Any) -> float:
        return 1.0 if prediction["answer"] == "b" else 0.0

    judge.judge = True  # type: ignore[attr-defined]  # a function takes any, its type none
    filtered = filter_answers(replies(example(1), "a", "a", "a", "b"), judge, ["answer"], FilterRules())
    assert accepted(filtered) == [("b", 3)] and reasons(filtered) == ["scored too low: 0.00 below 1"] * 3


def test_an_answer_without_a_mark_is_not_learned() -> None:
    def judge(row: Any, prediction: Any) -> float:
        if prediction["answer"] == "a":
            raise ReplyError("no mark")
        return 1.0

    judge.judge = True  # type: ignore[attr-defined]  # a function takes any, its type none
    filtered = filter_answers(replies(example(1), "a", "b"), judge, ["answer"], FilterRules())
    assert accepted(filtered) == [("b", 1)] and len(filtered.rejected) == 1


def test_gold_adds_only_what_the_teacher_never_got_right() -> None:
    answers = replies(example(1, "x"), "x") + replies(example(2, "y"), "no", "no") + replies(example(3), "a", "b")
    assert [one.source for one in filter_answers(answers, EXACT, ["answer"], FilterRules()).accepted] == ["teacher"]
    filtered = filter_answers(answers, EXACT, ["answer"], FilterRules(gold=True))
    assert [(one.source, one.outputs["answer"]) for one in filtered.accepted] == [("teacher", "x"), ("gold", "y")]
    assert [one.outputs["answer"] for one in from_labels([example(1, "x"), example(2)])] == ["x"]


def test_the_teachers_reasoning_is_not_learned_and_splits_no_vote() -> None:
    row = example(1)
    thoughts = [{"reasoning": f"because {n}", "answer": "a"} for n in range(3)]
    filtered = filter_answers(
        [TeacherAnswer(row, n, "", t, None) for n, t in enumerate(thoughts)], EXACT, ["answer"], FilterRules()
    )
    assert [dict(one.outputs) for one in filtered.accepted] == [{"answer": "a"}] and len(filtered.rejected) == 2


def test_a_metric_that_fails_names_the_row() -> None:
    with pytest.raises(UserError, match=r"raised ZeroDivisionError on rows\.jsonl, line 1"):
        filter_answers(replies(example(1, "x"), "y"), lambda row, prediction: 1 / 0, ["answer"], FilterRules())


texts = st.lists(st.one_of(st.none(), st.sampled_from(["a", "A.", "b", "c", "a b", "C++"])), min_size=1, max_size=7)


@settings(deadline=None)
@given(rows=st.lists(st.tuples(texts, st.sampled_from([None, "a", "b"])), max_size=6), most=st.integers(1, 3))
def test_every_answer_is_kept_or_rejected_once(rows: Sequence[tuple[list[str | None], str | None]], most: int) -> None:
    answers = [a for n, (texts, label) in enumerate(rows) for a in replies(example(n, label), *texts)]
    filtered = filter_answers(answers, EXACT, ["answer"], FilterRules(max_per_row=most))
    both = [(k.example.id, k.sample) for k in filtered.accepted] + [(r.example.id, r.sample) for r in filtered.rejected]
    assert sorted(both, key=str) == sorted(((a.example.id, a.sample) for a in answers), key=str)
    for n, (_, label) in enumerate(rows):
        mine = [one for one in filtered.accepted if one.example.id == f"id{n}"]
        assert len(mine) <= (most if label else 1)
        assert len({normalised(one.outputs) for one in mine}) == len(mine)


def test_symbols_keep_answers_apart() -> None:
    assert normalised({"a": "C++"}) != normalised({"a": "C"}) and normalised({"a": ' "Rye  bread." '}) == normalised(
        {"a": "rye bread"}
    )
