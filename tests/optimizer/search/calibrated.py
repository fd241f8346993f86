"""A search whose candidates can be calibrated: the task of feelings.py, and a model that likes one label too much."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import InMemoryStorage

from optimizer.search.calibrating import (
    CandidateCalibrator,
    find_calibration,
)
from optimizer.search.candidate import Candidate
from optimizer.search.sources.demo_room import demo_room
from optimizer.search.sources.given import empty_space, labeled_sets, nearest_sets
from optimizer.search.space import NO_DEMOS, Addition, DemoSet, Space
from optimizer.search.study import StoredStudy
from optimizer.search.task import SearchTask
from promptstill.endpoint.client import Client
from promptstill.scoring.calibration import KINDS
from promptstill.scoring.calibration.calibrate import Calibrator
from promptstill.task.metrics import exact_match
from tests.promptstill.scoring.calibration import feelings
from tests.promptstill.scoring.calibration.feelings import DEV, LABELLED, TASK, TRAIN, WORDS
from tests.support.client import run_with_client
from tests.support.providers.classifier import Classifier

FIXED = Candidate("raw", "labeled-0", 2, 0)
STARTERS = 4  # one layout: without demos, fixed ones twice, and the nearest


def study() -> StoredStudy:
    return StoredStudy(InMemoryStorage(), "feelings")


def space(**changes: Any) -> Space:
    empty = empty_space(LABELLED, demo_room(2_048, slow=True), ("raw",), structured=True)
    sets = {NO_DEMOS: DemoSet(), **labeled_sets(LABELLED, 4, 0), **nearest_sets(TASK)}
    return replace(empty.grow(Addition(("How is the thing?",), sets)), calibrations=KINDS, **changes)


def search_task(trials: int = 16) -> SearchTask:
    return SearchTask(
        TASK, space(), LABELLED, [*DEV, *(feelings.row(n) for n in range(300, 320))], exact_match("feel"), 0, trials
    )


def with_calibrating(
    fake: Classifier, folder: Path, notes: StoredStudy, work: Callable[[CandidateCalibrator], Awaitable[Any]]
) -> Any:
    async def run(client: Client) -> Any:
        found = await find_calibration(TASK, ("raw", "chat"), TRAIN[:16], LABELLED, client)
        assert isinstance(found, Calibrator)
        return await work(CandidateCalibrator(found, notes, pytest.fail))

    with fake:
        return run_with_client(fake, folder, run)


def classifier(make: type[Classifier] = Classifier) -> Classifier:
    return make(feelings.logits, WORDS)
