"""Calibration at the real engine: its replies are those that the log-probabilities and the bias say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptstill.endpoint.client import Client
from promptstill.engine.vllm import Engine
from promptstill.prompt.layouts.task import Task
from promptstill.scoring.calibration.abilities import LabelAbilities, find_label_abilities
from promptstill.scoring.calibration.calibrate import Calibrator
from promptstill.scoring.evaluate import score_rows
from promptstill.task.metrics import exact_match
from tests.promptstill.scoring.calibration import feelings
from tests.promptstill.scoring.calibration.feelings import DEV, LABELLED, LABELS, TRAIN
from tests.support.client import run_with_client


@pytest.mark.e2e
@pytest.mark.parametrize("layout", ["raw", "chat"])
def test_the_engine_answers_as_the_calibrated_log_probabilities_say(
    layout: str, engine: Engine, tmp_path: Path
) -> None:
    async def work(client: Client) -> tuple[LabelAbilities, list[Any], list[str]]:
        prompt = feelings.prompt(layout, Task(feelings.Feel, engine.model, 8))
        calibrator = Calibrator(client, TRAIN[:12], LABELLED[:12])
        found = await calibrator.find(prompt, "full")
        likeliest = (await calibrator.probabilities(prompt, found, DEV)).argmax(axis=1)
        results = await score_rows(found.apply(prompt), DEV, exact_match("feel"), client)
        answers = [result.outputs and result.outputs["feel"] for result in results]
        return await find_label_abilities(client, engine.model), answers, [LABELS[place] for place in likeliest]

    abilities, answers, expected = run_with_client(engine, tmp_path, work)
    assert abilities == LabelAbilities(log_probs=True, logit_bias=True)
    same = sum(one == other for one, other in zip(answers, expected, strict=True))
    assert same >= len(DEV) - 1, "a calibrated choice may be a near tie, which another batch decides otherwise"
