"""The arithmetic of calibration, on log-probabilities whose bias is known."""

from __future__ import annotations

import numpy as np
import pytest

from promptstill.scoring.calibration.bias import Correction, fit, mean_bias
from promptstill.scoring.calibration.readings import log_softmax

BIAS = np.array([2.0, 0.0, -2.0])


def readings(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Gold branches, and log-probabilities with evidence for them, half as sharp as it should be, and with BIAS."""
    gold = np.random.default_rng(seed).integers(0, 3, rows)
    noise = np.random.default_rng(seed + 1).normal(0, 1, (rows, 3))
    true = log_softmax(2.0 * (np.eye(3)[gold] + noise))
    drawn = np.array([np.random.default_rng([seed, row]).choice(3, p=np.exp(one)) for row, one in enumerate(true)])
    return log_softmax(true / 2 + BIAS), drawn


def test_the_mean_bias_is_centred_and_leaves_out_rows_that_say_nothing() -> None:
    read, _ = readings(2_000)
    found = mean_bias(read, [1, 1, 1])
    assert found.sum() == pytest.approx(0.0) and found == pytest.approx(BIAS, abs=0.15)
    with_gaps = np.vstack([read, np.full((5, 3), np.nan)])
    assert mean_bias(with_gaps, [1, 1, 1]) == pytest.approx(found)


def test_a_branch_of_several_labels_may_be_as_much_likelier() -> None:
    read = np.log(np.array([[0.75, 0.25]]))
    assert mean_bias(read, [3, 1]) == pytest.approx([0.0, 0.0])
    assert mean_bias(read, [1, 1])[0] == pytest.approx(np.log(3) / 2)


def test_a_fit_finds_bias_and_scale_from_labelled_rows() -> None:
    read, gold = readings(4_000)
    found = fit(read, gold, np.zeros(3))
    assert found.values == pytest.approx(tuple(-BIAS), abs=0.2) and found.scale == pytest.approx(2.0, abs=0.15)


def test_few_rows_keep_near_what_the_unlabelled_ones_say() -> None:
    read, gold = readings(4)
    prior = np.array([-3.0, 1.0, 2.0])
    none = fit(read[:0], gold[:0], prior)
    assert none.values == pytest.approx(tuple(prior)) and none.scale == pytest.approx(1.0)
    few, many = (np.abs(np.array(fit(*readings(rows), prior).values) - prior).max() for rows in (4, 400))
    assert few < many


def test_a_scale_changes_probabilities_but_no_choice() -> None:
    read, _ = readings(50)
    plain, sharp = (Correction((0.5, 0.0, -0.5), scale).probabilities(read) for scale in (1.0, 3.0))
    assert (plain.argmax(axis=1) == sharp.argmax(axis=1)).all() and (sharp.max(axis=1) > plain.max(axis=1)).all()
    assert plain.sum(axis=1) == pytest.approx(np.ones(50))
