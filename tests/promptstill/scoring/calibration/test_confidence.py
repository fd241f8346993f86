"""The expected calibration error, on cases done by hand."""

from __future__ import annotations

import pytest

from promptstill.scoring.calibration.confidence import expected_calibration_error


@pytest.mark.parametrize(
    ("confidences", "right", "error"),
    [
        ([], [], 0.0),
        ([1.0, 1.0], [1, 1], 0.0),
        ([1.0, 1.0], [0, 0], 1.0),
        ([0.75] * 4, [1, 1, 1, 0], 0.0),
        ([0.95, 0.95, 0.55, 0.55], [1, 0, 1, 0], 0.25),  # 0.45 and 0.05 off, half of the replies each
        ([0.61, 0.69], [0, 1], 0.15),  # of one bin
    ],
)
def test_it_is_the_mean_distance_over_bins(confidences: list[float], right: list[float], error: float) -> None:
    assert expected_calibration_error(confidences, right) == pytest.approx(error)


def test_each_reply_needs_a_score() -> None:
    with pytest.raises(ValueError, match="1 confidences for 2 replies"):
        expected_calibration_error([0.5], [1, 0])
