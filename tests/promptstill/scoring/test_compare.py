"""The score of a split and the difference of two prompts, for metrics of rows and of a whole split."""

from __future__ import annotations

import random

import pytest

from promptstill.scoring.compare import Marks, difference, estimate
from promptstill.scoring.split_stats import CountTable
from promptstill.stats import FOLDS_ERROR, gain, mean_interval
from promptstill.task.metrics.whole import Labels, Statistic, split_score

STATISTICS: tuple[Statistic, ...] = ("macro_f1", "balanced_accuracy", "matthews")
each = pytest.mark.parametrize("statistic", STATISTICS)


def marks(statistic: Statistic, right: float, *, rows: int = 120, seed: int = 0, group: int = 1) -> Marks:
    """A prompt that is right with a chance on rows of three labels of unequal size; else it says one, or nothing."""
    chance = random.Random(seed)
    golds = [("a", "b", "c")[min(n % 6, 2)] for n in range(rows)]
    said = [gold if chance.random() < right else chance.choice(("a", None)) for gold in golds]
    labels = [Labels(statistic, gold, answer) for gold, answer in zip(golds, said, strict=True)]
    return Marks([float(one.gold == one.answer) for one in labels], [f"g{n // group}" for n in range(rows)], labels)


def test_without_labels_it_is_the_mean_over_rows() -> None:
    one, other = (Marks(marks("macro_f1", share).scores, ["g"] * 60 + ["h"] * 60) for share in (0.9, 0.4))
    assert estimate(one, 3) == mean_interval(one.scores, 3, one.groups)
    assert difference(one, other, 3) == gain(one.scores, other.scores, 3, one.groups)


@each
def test_the_counts_give_the_score_of_scikit_learn(statistic: Statistic) -> None:
    for seed in range(20):
        made = marks(statistic, seed / 20, rows=15 + seed, seed=seed, group=1 + seed % 4)
        assert made.labels is not None
        table = CountTable.of(made.labels, made.groups)
        score = float(table.score(table.counts(made.labels).sum(axis=0)))
        assert score == pytest.approx(split_score(made.labels), abs=1e-9)


@each
def test_an_interval_holds_the_score_and_is_wider_for_groups_and_few_rows(statistic: Statistic) -> None:
    alone, grouped, few = marks(statistic, 0.7), marks(statistic, 0.7, group=20), marks(statistic, 0.7, rows=30)
    widths = []
    for one in (alone, grouped, few):
        found = estimate(one, 0)
        assert found.low < found.mean < found.high and found.n == len(one.scores)
        widths.append(found.high - found.low)
    assert widths[2] > widths[0] and estimate(alone, 0) == estimate(alone, 0)


@each
def test_all_right_is_no_proof_of_perfection(statistic: Statistic) -> None:
    found = estimate(marks(statistic, 1.0, rows=30), 0)
    assert found.mean == found.high == 1.0 and 0.7 < found.low < 1.0


@each
def test_the_same_answers_make_no_gain_and_better_ones_do(statistic: Statistic) -> None:
    good, bad = marks(statistic, 0.9), marks(statistic, 0.4, seed=1)
    same, over, under = difference(good, good, 0), difference(good, bad, 0), difference(bad, good, 0)
    assert (same.mean, same.p) == (0.0, 1.0) and same.low < 0 < same.high and not same.clear
    assert over.clear and over.p < 0.001 and over.n == 120 and over.mean == pytest.approx(-under.mean)
    assert over.mean == pytest.approx(estimate(good, 0).mean - estimate(bad, 0).mean)


def test_matthews_may_lie_below_zero() -> None:
    labels = [Labels("matthews", gold, answer) for gold, answer in (("a", "b"), ("b", "a"))] * 20
    found = estimate(Marks([0.0] * 40, [f"g{n}" for n in range(40)], labels), 0)
    assert found.mean == pytest.approx(-1.0) and found.low == pytest.approx(-1.0) and found.high < 0


@each
def test_groups_are_swapped_whole(statistic: Statistic) -> None:
    """Of two groups there are four ways to swap: no difference of them is beyond doubt."""
    good, bad = marks(statistic, 0.9, group=60), marks(statistic, 0.4, seed=1, group=60)
    over = difference(good, bad, 0)
    assert over.p > 0.2 and not over.clear and over.groups == pytest.approx(2.0)


def test_a_cross_validated_gain_has_a_wider_interval_and_a_larger_p() -> None:
    one, other = (marks("macro_f1", share, rows=40) for share in (0.8, 0.5))
    single, folded = (
        difference(Marks(one.scores, one.groups, folds=folds), Marks(other.scores, other.groups), 0)
        for folds in (False, True)
    )
    assert folded.mean == single.mean and folded.n == single.n
    assert folded.high - folded.low == pytest.approx(FOLDS_ERROR * (single.high - single.low))
    assert single.p < folded.p <= 1 and folded.spread == pytest.approx(FOLDS_ERROR * single.spread)
    best = Marks([1.0] * 40, one.groups, folds=True)
    assert estimate(best, 0).high == 1.0 and estimate(best, 0).low < estimate(Marks([1.0] * 40, one.groups), 0).low


@each
def test_a_cross_validated_score_of_a_whole_split_stays_in_its_range(statistic: Statistic) -> None:
    made = marks(statistic, 0.95, rows=30)
    folded = estimate(Marks(made.scores, made.groups, made.labels, folds=True), 0)
    assert -1 <= folded.low < estimate(made, 0).low and folded.high <= 1
