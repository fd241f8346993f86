"""How sure a calibrated winner is of its replies to dev, and how far that can be believed."""

from __future__ import annotations

from typing import Any

import numpy as np

from optimizer.one_search import Found
from promptstill.endpoint.allowance import LimitReached
from promptstill.scoring.calibration import NONE, NoCalibration
from promptstill.scoring.calibration.confidence import expected_calibration_error


async def confidence(found: Found) -> dict[str, Any]:
    """The entry of `scores.dev` in best.json; empty where the winner is not calibrated, or a limit keeps it unread."""
    candidate, task = found.outcome.winner.candidate, found.task
    if found.calibrating is None or candidate.calibration == NONE:
        return {}
    try:
        sure, right = await found.calibrating.confidences(task, candidate)
    except (LimitReached, NoCalibration):
        return {}
    known = np.flatnonzero(~np.isnan(sure))
    if not len(known):
        return {}
    return {
        "confidence": {
            "rows": {task.dev[row].id: round(float(sure[row]), 6) for row in known},
            "mean": float(sure[known].mean()),
            "right": float(right[known].mean()),
            "calibration_error": expected_calibration_error(sure[known], right[known]),
        }
    }
