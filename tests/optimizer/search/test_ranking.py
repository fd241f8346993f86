"""Finalists by the score of a whole split: the value, each row's part in it, and who wins by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from optimizer.search.candidate import Candidate
from optimizer.search.playoff import choose_winner, standard_errors_below
from optimizer.search.ranking import by_split
from optimizer.search.study import Trial
from promptstill import balanced_accuracy, exact_match
from promptstill.task.examples import Example
from promptstill.task.metrics.whole import Labels, split_score

METRIC = balanced_accuracy("answer")
GOLDS = ["often"] * 32 + ["rare"] * 8
DEV = [Example(f"id{n}", "", {}, {"answer": gold}, {"answer": gold}, f"g{n}") for n, gold in enumerate(GOLDS)]


def trial(slot: int, answers: Sequence[str | None]) -> Trial:
    scores = {row: float(answer == gold) for row, (answer, gold) in enumerate(zip(answers, GOLDS, strict=True))}
    candidate, value = Candidate("chat", "none", 1, 0), sum(scores.values()) / len(scores)
    return Trial(0, slot, candidate, f"p{slot}", value, scores, False, 0, 10.0, 1.0, labels=dict(enumerate(answers)))


ALWAYS_OFTEN = trial(0, ["often"] * 40)  # 80 % of the rows, half of the balanced accuracy
BALANCED = trial(1, ["often"] * 22 + ["rare"] * 10 + ["rare"] * 8)  # 75 % of the rows


def test_rows_and_the_split_may_choose_differently() -> None:
    trials = [ALWAYS_OFTEN, BALANCED]
    assert choose_winner(trials) is ALWAYS_OFTEN
    assert choose_winner([by_split(METRIC, DEV, one) for one in trials]).slot == BALANCED.slot
    assert [by_split(exact_match("answer"), DEV, one) for one in trials] == trials


def test_the_mean_of_the_rows_parts_is_the_score_and_each_part_is_its_own_rows() -> None:
    ranked = by_split(METRIC, DEV, BALANCED)
    labels = [
        Labels(METRIC.statistic, gold, answer) for gold, answer in zip(GOLDS, BALANCED.labels.values(), strict=True)
    ]
    assert ranked.value == pytest.approx(split_score(labels)) == pytest.approx((22 / 32 + 1) / 2)
    assert sum(ranked.row_values.values()) / 40 == pytest.approx(ranked.value)
    right, wrong, of_a_full_label = (ranked.row_values[row] for row in (0, 25, 39))
    assert right > of_a_full_label > wrong
    assert ranked.scores == BALANCED.scores  # rows right or wrong, by which it raced
    assert 0 < standard_errors_below(by_split(METRIC, DEV, ALWAYS_OFTEN), ranked) < 10


def test_rows_of_one_label_and_a_reply_without_one() -> None:
    few = replace(BALANCED, scores={0: 1.0, 1: 1.0}, labels={0: "often", 1: "often"})
    assert by_split(METRIC, DEV, few) is few
    silent = by_split(METRIC, DEV, trial(2, [None] * 40))
    assert silent.value == 0.0


def test_a_trial_is_read_back_with_its_labels_and_others_hold_none() -> None:
    ranked = by_split(METRIC, DEV, BALANCED)
    assert Trial.from_json(ranked.to_json()) == replace(BALANCED, value=ranked.value)
    assert "labels" not in replace(BALANCED, labels={}).to_json() and "influence" not in ranked.to_json()
