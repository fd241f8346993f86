"""The tables of the model card and of the terminal."""

from __future__ import annotations

from distill.report.card import COLUMNS, arm_rows, comparison_rows, markdown_table
from distill.verdict.verdict import compare_arms
from tests.support.distilled import COST, arm


def test_every_arm_is_a_row_and_the_best_prompt_is_not_held_against_itself() -> None:
    arms = arm(0.1, 20, 50), arm(0.6, 200, 10), arm(0.85, 20, 40), arm(0.8, 20, 40)
    made = compare_arms(*arms, COST, 1, 0)
    rows = arm_rows(made, 0)
    assert [row[0] for row in rows] == list(made.arms) and all(len(row) == len(COLUMNS) for row in rows)
    assert rows[1][3] == "" and rows[2][3].startswith("+25.0 (")
    assert markdown_table(COLUMNS, rows).count("\n") == 5
    assert {criterion for criterion, *_ in comparison_rows(made)} >= {"training required", "data needed", "flexibility"}
