"""Answers told by log-probabilities are those that the endpoint gives, and a row is read once for all strengths."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Literal

import dspy
import pytest

from promptstill.endpoint.client import Client
from promptstill.engine.vllm import Engine
from promptstill.prompt.layouts.build import build_prompt
from promptstill.prompt.layouts.task import Task
from promptstill.scoring.answer import answer
from promptstill.scoring.calibration import KINDS
from promptstill.scoring.calibration.calibrate import Calibrator
from promptstill.scoring.calibration.label_answers import LabelAnswers
from promptstill.task.examples import Example
from tests.promptstill.scoring.calibration import feelings
from tests.promptstill.scoring.calibration.feelings import DEV, LABELLED, TRAIN
from tests.support.answers import to_example
from tests.support.client import run_with_client
from tests.support.providers.classifier import Classifier

TEAMS = ("billing", "bug", "security", "shipping", "sales", "subscription")
WORDS = ("b", "bug", "illing", "s", "sh", "ipping", "ales", "sub", "scription", "curity", "prompt", "Hello")


class Route(dspy.Signature):
    """Which team?"""

    ticket: str = dspy.InputField()
    team: Literal["billing", "bug", "security", "shipping", "sales", "subscription"] = dspy.OutputField()


def ticket(number: int, *, labelled: bool = False) -> Example:
    return to_example(number, {"ticket": f"ticket {number}"}, {"team": TEAMS[number % 6]} if labelled else {})


def moody(body: dict[str, Any]) -> dict[str, float]:
    """Other likings for each row."""
    rng = random.Random(str(body["messages"][-1]["content"])[-40:])
    return {team: rng.gauss(2.0 * (team == "bug"), 1.5) for team in TEAMS}


def asked_and_told(served: Any, folder: Path, prompt: Any, rows: list[Example], train: list[Example]) -> list[Any]:
    """For each kind of calibration the answers asked and told, and how many calls the told ones took."""

    async def work(client: Client) -> list[Any]:
        calibrator = Calibrator(client, train, train)
        answers, made = LabelAnswers(calibrator), []
        for kind in KINDS:
            calibrated = await calibrator.calibrate(prompt, kind)
            before = client.allowance.total.calls
            told = [await answers.answer(calibrated, row, client) for row in rows]
            calls = client.allowance.total.calls - before
            asked = [await answer(calibrated, row.inputs, client) for row in rows]
            made.append((kind, calls, [one and one.outputs for one in told], [one.outputs for one in asked]))
        return made

    return run_with_client(served, folder, work)


def test_a_row_is_read_once_for_all_strengths(tmp_path: Path) -> None:
    with Classifier(feelings.logits, feelings.WORDS) as fake:
        made = asked_and_told(fake, tmp_path, feelings.prompt(), DEV, LABELLED)
    assert [calls for _, calls, _, _ in made] == [len(DEV), 0, 0, 0]
    assert all(told == asked for _, _, told, asked in made)
    assert made[0][2] != made[2][2], "the bias changes answers"


def test_labels_that_share_their_first_token_are_read_at_each_place_where_they_part(tmp_path: Path) -> None:
    prompt = build_prompt(Task(Route, "fake", 24), "raw", "Which team?", [], k=0)
    rows, train = [ticket(number) for number in range(40)], [ticket(100 + one, labelled=True) for one in range(40)]
    with Classifier(moody, WORDS) as fake:
        made = asked_and_told(fake, tmp_path, prompt, rows, train)
    for kind, calls, told, asked in made:
        known = [(one, other) for one, other in zip(told, asked, strict=True) if one is not None]
        assert all(one == other for one, other in known), kind
        assert calls <= 3 * len(rows)
        assert len(known) > len(rows) / 2 or kind == "none", "what is spelled by other tokens is not told"


def test_a_sampled_or_open_reply_is_told_by_nothing(tmp_path: Path) -> None:
    warm = feelings.prompt()
    warm = warm.model_copy(update={"decoding": warm.decoding.model_copy(update={"temperature": 0.7})})
    more = feelings.prompt(task=feelings.WITH_MORE, demos=[])

    async def work(client: Client) -> list[Any]:
        answers = LabelAnswers(Calibrator(client, TRAIN))
        return [await answers.answer(prompt, DEV[0], client) for prompt in (warm, more)]

    with Classifier(feelings.logits, feelings.WORDS) as fake:
        assert run_with_client(fake, tmp_path, work) == [None, None]
    assert not fake.requests


@pytest.mark.e2e
@pytest.mark.parametrize("layout", ["raw", "chat"])
def test_the_engine_gives_the_answers_that_are_told(layout: Any, engine: Engine, tmp_path: Path) -> None:
    prompt = build_prompt(Task(Route, engine.model, 24), layout, "Which team?", [], k=0)
    rows, train = [ticket(number) for number in range(12)], [ticket(100 + one, labelled=True) for one in range(12)]
    made = asked_and_told(engine, tmp_path, prompt, rows, train)
    pairs = [pair for _, _, told, asked in made for pair in zip(told, asked, strict=True)]
    told = [(one, other) for one, other in pairs if one is not None]
    assert len(told) >= len(pairs) * 3 / 4
    assert sum(one == other for one, other in told) >= len(told) - 1, "a near tie may be decided otherwise elsewhere"
