"""Calibration at the wire: a model that likes one label too much answers right, at no token more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import dspy
import numpy as np
import pytest

from promptstill.dialect import Dialect
from promptstill.endpoint.client import Client
from promptstill.prompt.layouts.build import build_prompt
from promptstill.prompt.layouts.task import Task
from promptstill.prompt.prompt import Prompt
from promptstill.scoring.calibration import KINDS, Kind, NoCalibration
from promptstill.scoring.calibration.calibrate import FEWEST_ROWS, FOLDS, LIFT, Calibration, Calibrator, is_right
from promptstill.scoring.calibration.confidence import expected_calibration_error
from promptstill.scoring.evaluate import mean_score, score_rows
from promptstill.task.metrics import exact_match
from tests.promptstill.scoring.calibration import feelings
from tests.promptstill.scoring.calibration.feelings import DEV, LABELLED, LABELS, TASK, TRAIN, WITH_MORE, WORDS
from tests.support.answers import to_example
from tests.support.client import run_with_client
from tests.support.providers import classifier
from tests.support.providers.classifier import Classifier


def model(make: type[Classifier] = Classifier, **changes: Any) -> Classifier:
    return make(feelings.logits, WORDS, **changes)


def at(fake: Classifier, folder: Path, work: Callable[[Calibrator], Awaitable[Any]]) -> Any:
    """What `work` comes to with a calibrator of the rows of feelings.py."""
    with fake:
        return run_with_client(fake, folder, lambda client: work(Calibrator(client, TRAIN, LABELLED)))


def refusal(fake: Classifier, folder: Path, prompt: Prompt) -> str:
    with pytest.raises(NoCalibration) as caught:
        at(fake, folder, lambda calibrator: calibrator.find(prompt, "full"))
    return str(caught.value)


async def accuracy(prompt: Prompt, client: Client) -> float:
    """On dev."""
    return mean_score(await score_rows(prompt, DEV, exact_match("feel"), client))


@pytest.mark.parametrize("prompt", [feelings.prompt(), feelings.prompt("chat"), feelings.nearest()])
def test_a_biased_model_answers_right(prompt: Prompt, tmp_path: Path) -> None:
    async def work(calibrator: Calibrator) -> dict[Kind, float]:
        found = {kind: await calibrator.calibrate(prompt, kind) for kind in KINDS}
        assert found["none"] is prompt
        for one in found.values():
            sent = one.request(DEV[0].inputs)
            assert ("logit_bias" in sent) is (one is not prompt)
            assert {**sent, "logit_bias": 0} == {**prompt.request(DEV[0].inputs), "logit_bias": 0}, "no token more"
        return {kind: await accuracy(one, calibrator.client) for kind, one in found.items()}

    right = at(model(), tmp_path, work)
    assert right["none"] == pytest.approx(1 / 3) and right["full"] == right["fitted"] == 1.0
    assert right["none"] < right["half"] < 1.0


def test_the_bias_is_the_models_own_taken_back(tmp_path: Path) -> None:
    found: Calibration = at(model(), tmp_path, lambda calibrator: calibrator.find(feelings.prompt(), "full"))
    texts, sent = found.logit_bias_texts, found.logit_bias
    assert texts["mild"] - texts["hot"] == pytest.approx(6.0, abs=0.5)  # as the model favours them
    assert texts["cold"] - texts["hot"] == pytest.approx(4.0, abs=0.5)
    assert sum(texts.values()) == pytest.approx(0.0, abs=0.001)
    ids = {f" {label}": str(WORDS_BY_LENGTH.index(f" {label}")) for label in LABELS}
    assert sent == {ids[f" {label}"]: pytest.approx(texts[label] + LIFT, abs=0.001) for label in LABELS}


def test_how_often_a_fitted_bias_is_right_is_told_by_rows_that_it_was_not_fitted_to(tmp_path: Path) -> None:
    """The model tells nothing, and most rows outside a part of them have another label than those in it."""
    labels = [LABELS[place % FOLDS // 2] for place in range(24)]
    rows = [replace(row, outputs={"feel": label}) for row, label in zip(LABELLED, labels, strict=False)]

    async def work(client: Client) -> tuple[float, float, int]:
        calibrator, prompt = Calibrator(client, rows, rows), feelings.prompt()
        found = await calibrator.find(prompt, "fitted")
        asked = fake.requests
        sure = await calibrator.probabilities(prompt, found, rows)
        others = await calibrator.accuracy(prompt, "fitted")
        return float(is_right(prompt, found, rows, sure).mean()), others, fake.requests - asked

    fake = Classifier(lambda body: dict.fromkeys(LABELS, 0.0), WORDS)
    with fake:
        assert run_with_client(fake, tmp_path, work) == (0.5, 0.0, 0)


WORDS_BY_LENGTH = sorted(WORDS, key=len, reverse=True)


def test_strengths_share_their_calls_which_have_a_role_of_their_own(tmp_path: Path) -> None:
    fake, prompt = model(), feelings.prompt()

    async def work(calibrator: Calibrator) -> tuple[Calibration, Calibration, int]:
        full = await calibrator.find(prompt, "full")
        asked = fake.requests
        half = await calibrator.find(prompt, "half")
        assert fake.requests == asked == len(TRAIN) and fake.tokenized == len(LABELS)
        await calibrator.find(prompt, "fitted")
        assert calibrator.client.allowance.spent.keys() == {"calibration"}
        return full, half, fake.requests

    full, half, requests = at(fake, tmp_path, work)
    assert requests == len(TRAIN) + len(LABELLED)
    for label, value in full.logit_bias_texts.items():
        assert half.logit_bias_texts[label] == pytest.approx(value / 2, abs=0.001)
    again = at(fake, tmp_path, lambda calibrator: calibrator.find(prompt, "full"))
    assert again == full and fake.requests == requests, "what was asked is stored"
    assert all(body["max_tokens"] == 1 and body["logprobs"] for body in fake.bodies)


def test_each_row_is_asked_as_the_caller_says(tmp_path: Path) -> None:
    fake, whole = model(), feelings.nearest()
    assert whole.nearest is not None
    left_out = {row.id: whole.leave_out([place]) for place, row in enumerate(LABELLED)}

    async def work(client: Client) -> Calibration:
        return await Calibrator(client, LABELLED).find(whole, "full", lambda row: left_out[row.id])

    with fake:
        found = run_with_client(fake, tmp_path, work)
    assert found.logit_bias and len(fake.bodies) == len(LABELLED)
    for body in fake.bodies:
        *demos, asked = str(body["messages"][-1]["content"]).split("Thing: ")
        assert not any(asked.splitlines()[0] == demo.splitlines()[0] for demo in demos)


def test_labels_with_the_same_first_tokens_are_told_apart_where_they_part(tmp_path: Path) -> None:
    labels = ("deep blue", "deep red", "green")

    class Paint(dspy.Signature):
        """Which paint?"""

        thing: str = dspy.InputField()
        paint: Literal["deep blue", "deep red", "green"] = dspy.OutputField()

    def logits(body: dict[str, Any]) -> dict[str, float]:
        asked = str(body["messages"][-1]["content"])
        favour = {"deep blue": 5.0, "deep red": 1.0, "green": 2.0}
        return {label: favour[label] + 2.5 * (f"{label} thing" in asked) for label in labels}

    rows = [
        to_example(place, {"thing": f"a {labels[place % 3]} thing {place}"}, {"paint": labels[place % 3]})
        for place in range(36)
    ]
    fake = Classifier(logits, ["deep", "green", " blue", " red"])
    prompt = build_prompt(Task(Paint, "fake", 8), "chat", "Which paint?")

    async def work(client: Client) -> list[float]:
        calibrator = Calibrator(client, rows[:24])
        found = [await calibrator.calibrate(prompt, kind) for kind in ("none", "full")]
        return [mean_score(await score_rows(one, rows[24:], exact_match("paint"), client)) for one in found]

    with fake:
        assert run_with_client(fake, tmp_path, work) == [pytest.approx(1 / 3), 1.0]
    read = [body for body in fake.bodies if body.get("logprobs")]
    assert len(read) == 24 + 24 and sum("logit_bias" in body for body in read) == 24


@pytest.mark.parametrize("layout", ["raw", "chat", "json"])
def test_a_label_before_other_outputs_is_calibrated(layout: Literal["raw", "chat", "json"], tmp_path: Path) -> None:
    form = {"raw": " {}\nSure: True", "chat": "Feel: {}\nSure: True", "json": '{{"feel": "{}", "sure": true}}'}[layout]
    fake = model(form=form)
    demos = [{**demo, "sure": True} for demo in feelings.DEMOS]
    prompt = feelings.prompt(layout, WITH_MORE, demos)

    async def work(calibrator: Calibrator) -> list[float]:
        full = await calibrator.calibrate(prompt, "full")
        assert sum(full.decoding.logit_bias.values()) == pytest.approx(0.0, abs=0.001), "no lift for other outputs"
        return [await accuracy(one, calibrator.client) for one in (prompt, full)]

    plain, calibrated = at(fake, tmp_path, work)
    assert plain == pytest.approx(1 / 3) and calibrated == 1.0


def test_probabilities_of_a_calibrated_prompt_can_be_believed(tmp_path: Path) -> None:
    prompt = feelings.prompt()

    async def errors(calibrator: Calibrator) -> list[float]:
        found = [await calibrator.find(prompt, kind) for kind in ("none", "full", "fitted")]
        read = [await calibrator.probabilities(prompt, one, DEV) for one in found]
        assert all(np.allclose(one.sum(axis=1), 1.0) for one in read)
        gold = [LABELS.index(row.outputs["feel"]) for row in DEV]
        return [expected_calibration_error(one.max(axis=1), one.argmax(axis=1) == gold) for one in read]

    none, full, fitted = at(model(), tmp_path, errors)
    assert none > 0.4 and fitted < full < 0.35


@pytest.mark.parametrize(
    ("make", "prompt", "reason"),
    [
        (Classifier, build_prompt(Task(TASK.signature, "fake", 8, structured=False), "chat", "?"), "nothing constrain"),
        (Classifier, build_prompt(TASK, "chat", "?", reasoning=True), "reasoning is not one of 2 to 128 labels"),
        (Classifier, build_prompt(Task(TASK.signature, "fake", 8, dialect=Dialect(thinking_tokens=9)), "chat", "?"),
         "the model thinks before it answers"),
        (classifier.SilentClassifier, feelings.prompt(), "do not write the labels by the tokens expected"),
        (classifier.NamelessClassifier, feelings.prompt(), "do not write the labels"),
        (classifier.RefusingClassifier, feelings.prompt(), "do not write the labels"),
    ],
)  # fmt: skip
def test_what_cannot_be_calibrated_is_left_out_with_its_reason(
    make: type[Classifier], prompt: Prompt, reason: str, tmp_path: Path
) -> None:
    fake = model(make)
    assert reason in refusal(fake, tmp_path, prompt)
    assert fake.requests <= FEWEST_ROWS, "no more is asked than shows it"


def test_without_train_rows_or_a_tokenizer_there_is_no_calibration(tmp_path: Path) -> None:
    async def work(client: Client) -> str:
        with pytest.raises(NoCalibration) as caught:
            await Calibrator(client, []).find(feelings.prompt(), "full")
        return str(caught.value)

    with model() as fake:
        assert "no train rows" in run_with_client(fake, tmp_path, work)
        fake.tokens = None  # type: ignore[method-assign, assignment]  # its /tokenize then answers with status 500
        with pytest.raises(NoCalibration, match="does not say how it splits texts"):
            run_with_client(fake, tmp_path, lambda client: Calibrator(client, TRAIN).find(feelings.prompt(), "full"))
    assert fake.requests == 0


def test_a_row_is_right_by_its_likeliest_label_alone(tmp_path: Path) -> None:
    prompt = feelings.prompt()
    found: Calibration = at(model(), tmp_path, lambda calibrator: calibrator.find(prompt, "full"))
    sure = np.array([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [np.nan] * 3, [0.7, 0.2, 0.1]])
    golds: list[dict[str, Any]] = [{"feel": "hot"}, {"feel": "cold"}, {"feel": "hot"}, {"feel": "odd"}]
    rows = [to_example(number, {"thing": "tea"}, gold) for number, gold in enumerate(golds)]
    assert is_right(prompt, found, rows, sure).tolist() == [True, False, False, False], "one names no label there is"
