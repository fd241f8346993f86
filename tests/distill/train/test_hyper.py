"""Hyper-parameters: their bounds, the learning rate's course, patience."""

from __future__ import annotations

from typing import Any

import pytest

from distill.train.hyper import HyperParameters, best_epoch, lr_fraction, out_of_patience
from promptstill.errors import UserError


def test_rslora_at_rank_16_scales_as_lora_does() -> None:
    assert HyperParameters().lora_alpha / 16 == HyperParameters(rslora=True).lora_alpha / 16**0.5 == 2
    assert HyperParameters(alpha=5, rslora=True).lora_alpha == 5


def test_the_learning_rate_rises_and_falls_in_lines() -> None:
    shares = [lr_fraction(step, 100, 0.1) for step in range(100)]
    assert shares[0] == pytest.approx(0.1) and shares[9] == 1.0 == shares[10] and shares[-1] == pytest.approx(1 / 90)
    assert shares == sorted(shares[:10]) + sorted(shares[10:], reverse=True)


def test_patience_counts_epochs_without_a_better_score() -> None:
    assert not out_of_patience([0.5], 2) and not out_of_patience([0.5, 0.5], 2)
    assert out_of_patience([0.5, 0.5, 0.5], 2) and not out_of_patience([0.5, 0.4, 0.6], 2)
    assert best_epoch([0.1, 0.7, 0.7]) == 2


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"r": 12}, "A LoRA rank of 12 cannot be served.\n"
                    "vLLM takes adapters up to a maximum of 8, 16, 32 or 64 ranks here.\n"
                    "Choose one of 8, 16, 32, 64."),
        ({"lr": 0.0}, "lr is 0.0.\nIt must be between 0 and 1."),
        ({"epochs": 0}, "epochs is 0.\nIt must be 1 or more."),
        ({"dropout": 1.0}, "dropout is 1.0.\nIt must be from 0 to below 1."),
    ],
)  # fmt: skip
def test_wrong_hyper_parameters_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as caught:
        HyperParameters(**wrong)
    assert str(caught.value) == words
