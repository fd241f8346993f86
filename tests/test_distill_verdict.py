"""The verdict: when to distil, what it says, and what the card shows."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from distill.arms import Arm, Load
from distill.card import COLUMNS, comparison, markdown, rows
from distill.folder import ADAPTER_FILES, Distilled
from distill.pipeline import falls_short
from distill.settings import Settings
from distill.verdict import Cost, Verdict, judge, sentence
from optimizer.errors import UserError
from optimizer.stats import Estimate, estimate

COST = Cost(400, 3_000, 300.0, 300.0, "cpu", (0.9, 0.85))


def arm(right: float, tokens: float, per_s: float, n: int = 300, seed: int = 0) -> Arm:
    """An arm that is right on a share of rows; arms of one seed are right on nested sets of rows."""
    order = random.Random(seed).sample(range(n), n)
    scores = [0.0] * n
    for row in order[: round(right * n)]:
        scores[row] = 1.0
    alone = tuple(map(str, range(n)))
    return Arm(estimate(scores, 0), tuple(scores), alone, 0.0, tokens, 2.0, Load(1 / per_s, per_s))


def verdict(student: Arm, best: Arm, gold: Arm | None = None, students: int = 1) -> Verdict:
    return judge(arm(0.1, 20, 50), best, student, gold, COST, students, 0)


def test_a_better_and_cheaper_student_is_worth_it() -> None:
    made = verdict(arm(0.85, 20, 40), arm(0.6, 200, 10))
    assert made.distil and made.over_best.low > 0
    assert made.tokens_saved == pytest.approx(0.9)
    assert made.break_even == pytest.approx(600 / (1 / 10 - 1 / 40))
    assert sentence(made).startswith("Distil: the student beats the best prompt (+25.0 points")
    assert "90% fewer prompt tokens; after 8,000 requests" in sentence(made)


def test_a_second_student_on_the_same_test_rows_is_told_with_its_p_value_as_the_best_of_two() -> None:
    student, best = arm(0.5, 20, 40, seed=1), arm(0.4, 200, 10, seed=2)
    once, twice = verdict(student, best), verdict(student, best, students=2)
    assert "Bonferroni" not in sentence(once) and 0 < once.over_best.p < 0.5
    told = f"2 students so far: as the best of 2, this gain over the best prompt has p = {2 * once.over_best.p:.4f}"
    assert told in sentence(twice) and sentence(twice).startswith(sentence(once))


def test_a_worse_student_is_not() -> None:
    made = verdict(arm(0.4, 20, 40), arm(0.6, 200, 10))
    assert not made.distil
    assert sentence(made).startswith("Do not distil: the student is worse than the best prompt (-20.0 points")


def test_a_student_that_cannot_be_told_apart_is_not() -> None:
    made = verdict(arm(0.6, 20, 40, n=60, seed=1), arm(0.6, 200, 10, n=60, seed=2))
    assert made.over_best.low < -0.02 < made.over_best.high
    assert "it is not beyond doubt that the student keeps the best prompt's score" in sentence(made)


def test_an_equal_student_is_worth_it_only_where_it_is_faster() -> None:
    best = arm(0.6, 200, 10)
    assert sentence(verdict(arm(0.6, 20, 40), best)).startswith("Distil: the student does as well")
    slow = verdict(arm(0.6, 20, 8), best)
    assert slow.break_even is None
    assert sentence(slow).startswith("Do not distil: the student does as well") and "saves no time" in sentence(slow)


def test_labels_that_teach_better_are_said_to() -> None:
    made = verdict(arm(0.7, 20, 40), arm(0.6, 200, 10), arm(0.8, 20, 40))
    assert "Training on the labels themselves does better" in sentence(made)


def test_every_arm_is_a_row_and_the_best_prompt_is_not_held_against_itself() -> None:
    made = verdict(arm(0.85, 20, 40), arm(0.6, 200, 10), arm(0.8, 20, 40))
    shown = rows(made, 0)
    assert [row[0] for row in shown] == list(made.arms) and all(len(row) == len(COLUMNS) for row in shown)
    assert shown[1][3] == "" and shown[2][3].startswith("+25.0 (")
    assert markdown(COLUMNS, shown).count("\n") == 5
    assert {criterion for criterion, *_ in comparison(made)} >= {"training required", "data needed", "flexibility"}


def test_a_folder_is_not_written_into_twice(tmp_path: Path) -> None:
    settings = Settings(from_prompt="best.json")
    made = Distilled.create(tmp_path / "d", settings)
    assert Distilled.open(tmp_path / "d")[1] == settings and made.kept("taught") is None
    with pytest.raises(UserError, match="already holds a distillation that is not finished") as caught:
        Distilled.create(tmp_path / "d", settings)
    assert "distill --resume" in caught.value.do
    for path in (made.prompt_path, made.verdict_path, *(made.path / name for name in ADAPTER_FILES)):
        path.write_text("{}")
    with pytest.raises(UserError, match="already holds something") as caught:
        Distilled.refuse_occupied(tmp_path / "d")
    assert "--resume" not in caught.value.do
    with pytest.raises(UserError, match="is no distillation to go on with"):
        Distilled.open(tmp_path)


def test_a_student_far_below_its_dev_score_is_pointed_out() -> None:
    test = Estimate(0.527, 0.466, 0.589, 186)
    said = falls_short("qa-student", test, [0.726, 0.791])
    assert said and said.startswith("qa-student: 79.1 on dev in training, but 52.7 on test by the engine.")
    assert falls_short("qa-student", Estimate(0.733, 0.67, 0.79, 186), [0.791]) is None
