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
    winner, task = found.outcome.winner, found.task
    if found.calibrating is None or winner.candidate.calibration == NONE:
        return {}
    try:
        found.calibrating.calibrator.client.allowance.room(found.calibrating.confidence_calls(task))
        sure = await found.calibrating.confidences(task, winner.candidate)
    except (LimitReached, NoCalibration):
        return {}
    known = [row for row in sorted(winner.scores) if not np.isnan(sure[row])]
    error = expected_calibration_error([sure[row] for row in known], [winner.scores[row] for row in known])
    if not known:
        return {}
    rows = {task.dev[row].id: round(float(sure[row]), 6) for row in known}
    return {"confidence": {"rows": rows, "mean": float(np.mean(list(rows.values()))), "calibration_error": error}}
