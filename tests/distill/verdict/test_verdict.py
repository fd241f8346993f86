"""The verdict: when to distil, and what it says."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from distill.verdict.arms import Arm
from distill.verdict.verdict import DistillVerdict, compare_arms, verdict_sentence
from promptstill import exact_match
from promptstill.scoring.rivals.measure import score_outputs
from promptstill.scoring.rivals.report import RivalResult, compare_rivals
from promptstill.task.examples import Example
from tests.support.distilled import COST, arm, arm_with_replies


def verdict(student: Arm, best: Arm, gold: Arm | None = None, students: int = 1) -> DistillVerdict:
    return compare_arms(arm(0.1, 20, 50), best, student, gold, COST, students, 0)


def test_a_better_and_cheaper_student_is_worth_it() -> None:
    made = verdict(arm(0.85, 20, 40), arm(0.6, 200, 10))
    assert made.distil and made.over_best.low > 0
    assert made.tokens_saved == pytest.approx(0.9)
    assert made.break_even == pytest.approx(600 / (1 / 10 - 1 / 40))
    assert verdict_sentence(made).startswith("Distil: the student beats the best prompt (+25.0 points")
    assert "90% fewer prompt tokens; after 8,000 requests" in verdict_sentence(made)


def test_a_second_student_on_the_same_test_rows_has_its_p_value_as_the_best_of_two() -> None:
    student, best = arm(0.5, 20, 40, seed=1), arm(0.4, 200, 10, seed=2)
    once, twice = verdict(student, best), verdict(student, best, students=2)
    assert "Bonferroni" not in verdict_sentence(once) and 0 < once.over_best.p < 0.5
    note = (
        "2 students were evaluated on these test rows so far. "
        f"As the best of 2, this gain over the best prompt has p = {2 * once.over_best.p:.4f} (Bonferroni)."
    )
    assert note in verdict_sentence(twice) and verdict_sentence(twice).startswith(verdict_sentence(once))


def test_a_student_is_better_only_where_that_holds_after_so_many_students() -> None:
    student, best = arm(0.50, 20, 40, seed=1), arm(0.42, 200, 10, seed=2)
    once = verdict(student, best)
    gain = replace(once.over_best, low=0.01, p=0.02)
    assert replace(once, over_best=gain).better and not replace(once, over_best=gain, students=3).better
    assert replace(once, over_best=gain, students=3).distil, "as good, and faster"


def test_rows_of_few_groups_claim_nothing_of_a_student() -> None:
    few = tuple(str(n % 4) for n in range(300))
    student, best, gold = (replace(arm(right, 20, 40), groups=few) for right in (0.9, 0.3, 0.2))
    made = verdict(student, best, gold)
    assert not made.distil and not made.better and not made.as_good
    assert "The rows cannot tell: 300 test rows of few or unequal groups count as 4.0 groups" in verdict_sentence(made)
    assert "Training on" not in verdict_sentence(made)


def test_a_worse_student_is_not() -> None:
    made = verdict(arm(0.4, 20, 40), arm(0.6, 200, 10))
    assert not made.distil
    assert verdict_sentence(made).startswith("Do not distil: the student is worse than the best prompt (-20.0 points")


def test_a_student_that_cannot_be_told_apart_is_not() -> None:
    made = verdict(arm(0.6, 20, 40, n=60, seed=1), arm(0.6, 200, 10, n=60, seed=2))
    assert made.over_best.low < -0.02 < made.over_best.high
    assert "it is not beyond doubt that the student keeps the best prompt's score" in verdict_sentence(made)


def test_an_equal_student_is_worth_it_only_where_it_is_faster() -> None:
    best = arm(0.6, 200, 10)
    assert verdict_sentence(verdict(arm(0.6, 20, 40), best)).startswith("Distil: the student does as well")
    slow = verdict(arm(0.6, 20, 8), best)
    assert slow.break_even is None
    assert verdict_sentence(slow).startswith(
        "Do not distil: the student does as well"
    ) and "saves no time" in verdict_sentence(slow)


def test_labels_that_train_better_are_pointed_out() -> None:
    made = verdict(arm(0.7, 20, 40), arm(0.6, 200, 10), arm(0.8, 20, 40))
    assert "Training on the labels themselves does better" in verdict_sentence(made)


def test_a_verdict_and_an_arm_survive_their_file() -> None:
    arms = [arm_with_replies(*figures) for figures in ((0.1, 9, 40), (0.5, 90, 9), (0.9, 9, 40))]
    made = compare_arms(arms[0], arms[1], arms[2], None, COST, 3, 0)
    again = DistillVerdict.from_json(json.loads(json.dumps(made.to_json())))
    assert again.to_json() == made.to_json() and again.over_best == made.over_best and again.students == 3
    assert Arm.from_json(json.loads(json.dumps(made.best.to_json()))) == made.best


def test_a_rival_that_does_as_well_as_the_student_is_named_first() -> None:
    made = verdict(arm(0.85, 20, 40), arm(0.6, 200, 10))
    rows = [Example(f"id{n}", "", {}, {"code": "c"}, {"code": "c"}, str(n)) for n in range(300)]

    def with_rival(right: float) -> DistillVerdict:
        answers = ["c" if score else "d" for score in arm(right, 1, 1).scores]
        results = [
            score_outputs(row, {"code": code}, exact_match("code")) for row, code in zip(rows, answers, strict=True)
        ]
        return replace(made, rivals=compare_rivals(made.student.marks, {"bag_of_words": RivalResult(results)}, 0))

    as_good, worse = with_rival(0.85), with_rival(0.5)
    first = "A bag of words does as well here (85.0 against 85.0): you may need no model for this. Distil: "
    assert verdict_sentence(as_good).startswith(first) and as_good.distil
    assert verdict_sentence(worse) == verdict_sentence(made)
    again = DistillVerdict.from_json(json.loads(json.dumps(worse.to_json())))
    assert again.rivals["bag_of_words"].gain == worse.rivals["bag_of_words"].gain
