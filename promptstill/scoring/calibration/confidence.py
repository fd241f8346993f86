"""How far the probability that a prompt gives its replies can be believed."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

BINS = 10


def expected_calibration_error(confidences: ArrayLike, right: ArrayLike, bins: int = BINS) -> float:
    """The mean distance between how sure replies were and how many of them are right, 0 to 1; 0.0 without replies.

    confidences: the probability of each reply, 0 to 1. right: its score, 0 to 1. Over bins of equal width, each by its
    share of the replies (Naeini et al. 2015; Guo et al. 2017, arXiv 1706.04599). Of few replies it is too high: an
    empty or small bin has noise of its own. Raises `ValueError` where the two differ in length.
    """
    sure, scores = np.asarray(confidences, float), np.asarray(right, float)
    if len(sure) != len(scores):
        raise ValueError(f"{len(sure)} confidences for {len(scores)} replies")
    if not len(sure):
        return 0.0
    places = np.minimum((sure * bins).astype(int), bins - 1)
    gaps = np.bincount(places, sure - scores, bins)  # the bin's size times its mean distance
    return float(np.abs(gaps).sum() / len(sure))
