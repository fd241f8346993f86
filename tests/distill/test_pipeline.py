"""The warning about a student whose test score is far below its dev score."""

from __future__ import annotations

from distill.pipeline import dev_gap_warning
from promptstill.stats import Estimate


def test_a_student_far_below_its_dev_score_is_pointed_out() -> None:
    warning = dev_gap_warning("qa-student", Estimate(0.527, 0.466, 0.589, 186), [0.726, 0.791])
    assert warning and warning.startswith("qa-student: 79.1 on dev in training, but 52.7 on test by the engine.")
    assert dev_gap_warning("qa-student", Estimate(0.733, 0.67, 0.79, 186), [0.791]) is None
