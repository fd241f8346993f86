"""Calibrated candidates in a search: a model that likes one label too much gets a prompt that takes the liking back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from optimizer.search.calibrating import (
    LEADERS,
    ROWS,
    CandidateCalibrator,
    calibration_rows,
    find_calibration,
    known_biases,
    leaders,
)
from optimizer.search.candidate import FIELD, Candidate
from optimizer.search.forecast import max_other_calls
from optimizer.search.leave_out import LeaveOut
from optimizer.search.playoff import SearchOutcome
from optimizer.search.reflection.pairing import with_child
from optimizer.search.search import Search
from optimizer.search.space import NO_DEMOS, Space, bias_key
from optimizer.search.study import StoredStudy, Trial
from optimizer.search.task import SearchTask
from promptstill.endpoint.allowance import Limits
from promptstill.endpoint.client import Client
from promptstill.files import canonical_json
from promptstill.prompt.layouts import OWN
from promptstill.scoring.calibration import KINDS
from promptstill.scoring.calibration.calibrate import Calibrator
from tests.optimizer.search.calibrated import FIXED, STARTERS, classifier, search_task, space, study, with_calibrating
from tests.promptstill.scoring.calibration.feelings import DEV, LABELLED, TASK, TRAIN
from tests.support.client import run_with_client
from tests.support.providers.classifier import DeafClassifier
from tests.support.tasks import ANSWER as FREE_TEXT


def test_the_winner_is_calibrated_where_the_model_favours_a_label(tmp_path: Path) -> None:
    notes, fake = study(), classifier()

    async def search(calibrating: CandidateCalibrator) -> SearchOutcome:
        client = calibrating.calibrator.client
        one = Search(search_task(), client, notes, lambda task, progress: None, None, calibrating)
        outcome = await one.run()
        assert client.allowance.spent["calibration"].calls <= max_other_calls(search_task(), None, calibrating)
        sent = one.task.prompt(outcome.winner.candidate).request(DEV[0].inputs)
        assert sent["logit_bias"] and one.task.prompt(outcome.winner.candidate).id == outcome.winner.prompt_id
        return outcome

    first = with_calibrating(fake, tmp_path, notes, search)
    assert first.winner.candidate.calibration != "none" and first.winner.value > 0.9
    plain = [one.value for one in first.trials if one.candidate.calibration == "none"]
    assert max(plain) < 0.5, "without it every prompt says what the model likes"
    assert all(one.candidate.calibration == "none" for one in first.trials if one.slot < STARTERS), (
        "no bias before a race"
    )
    asked = fake.requests
    fresh = study()  # a run that lost its study and kept its calls
    second = with_calibrating(fake, tmp_path, fresh, lambda one: again(one, fresh))
    assert scores(second) == scores(first) and known_biases(fresh) == known_biases(notes)
    assert fake.requests == asked


def test_what_was_read_of_a_row_tells_it_under_each_bias(tmp_path: Path) -> None:
    """Few calls are left for the second race, and its trials have all rows that their plain prompts were asked."""
    notes, fake = study(), classifier()

    async def search(calibrating: CandidateCalibrator) -> SearchOutcome:
        client = calibrating.calibrator.client
        client.allowance.limits = Limits(calls=440)
        return await Search(search_task(), client, notes, lambda task, progress: None, None, calibrating).run()

    outcome = with_calibrating(fake, tmp_path, notes, search)
    trials, finalists = outcome.trials, outcome.finalists
    read = {one.candidate: len(one.scores) for one in trials if one.slot < STARTERS}
    told = [one for one in trials if one.slot >= STARTERS and one.candidate.uncalibrated in read]
    assert told and all(len(one.scores) >= read[one.candidate.uncalibrated] for one in told)
    assert len({one.candidate.uncalibrated for one in finalists}) == len(finalists), "the best of each prompt's"
    asked = [canonical_json(body) for body in fake.bodies if "logit_bias" in body and body["max_tokens"] > 1]
    assert len(asked) == len(set(asked)) <= 2, "but for the probe, a biased prompt is told, not asked"


def scores(outcome: SearchOutcome) -> dict[str, dict[int, float]]:
    """Of each trial's prompt."""
    return {trial.prompt_id: trial.scores for trial in outcome.trials}


async def again(calibrating: CandidateCalibrator, notes: StoredStudy) -> SearchOutcome:
    client = calibrating.calibrator.client
    return await Search(search_task(), client, notes, lambda task, progress: None, None, calibrating).run()


def test_a_search_that_failed_while_it_calibrated_goes_on_to_the_same_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = with_calibrating(classifier(), tmp_path, *in_own_study())
    fake, notes = classifier(), study()
    (tmp_path / "failed").mkdir()

    async def fail(calibrating: CandidateCalibrator) -> None:
        complete, sent = calibrating.calibrator.client.complete, list[asyncio.Task[Any]]()

        async def failing(body: Any, role: str, *rest: Any) -> Any:
            if role == "calibration":
                if len(sent) == 20:  # what was sent before is answered and stored
                    await asyncio.gather(*sent)
                    raise ConnectionError
                sent.append(asyncio.create_task(complete(body, role, *rest)))
                return await sent[-1]
            return await complete(body, role, *rest)

        monkeypatch.setattr(calibrating.calibrator.client, "complete", failing)
        with pytest.raises(ConnectionError):
            await again(calibrating, notes)

    with_calibrating(fake, tmp_path / "failed", notes, fail)
    before = fake.requests
    done = with_calibrating(fake, tmp_path / "failed", notes, lambda one: again(one, notes))
    assert scores(done) == scores(whole) and done.winner.prompt_id == whole.winner.prompt_id
    assert fake.requests > before and max(fake.calls.values()) == 1, "no request went out twice"


def in_own_study() -> tuple[StoredStudy, Callable[[CandidateCalibrator], Awaitable[Any]]]:
    notes = study()
    return notes, lambda one: again(one, notes)


def test_strengths_of_one_prompt_share_their_calls_and_a_note_costs_none(tmp_path: Path) -> None:
    notes, fake = study(), classifier()

    async def work(one: CandidateCalibrator) -> SearchTask:
        task, full = await one.calibrate(search_task(), replace(FIXED, calibration="full"))
        asked = fake.requests
        task, half = await one.calibrate(task, replace(FIXED, calibration="half"))
        assert (full.calibration, half.calibration, fake.requests) == ("full", "half", asked)
        assert {"full", "half"} == {key.split()[1] for key in task.space.biases}
        return task

    task = with_calibrating(fake, tmp_path, notes, work)
    assert known_biases(notes) == task.space.biases
    left_out = LeaveOut(task)
    for kind, row in (("full", LABELLED[0]), ("half", LABELLED[1])):
        candidate = replace(FIXED, calibration=kind)  # type: ignore[arg-type]  # a Kind
        whole = task.prompt(candidate)
        shown = [demo["thing"] for demo in task.space.demo_sets["labeled-0"].demos[:2]]
        own = next(one for one in LABELLED if one.inputs["thing"] in shown)
        assert left_out.prompt(task, candidate, whole, own).decoding.bias == whole.decoding.bias, (
            "its demo, not its bias"
        )
        assert left_out.prompt(task, candidate, whole, row).decoding.logit_bias


def test_a_prompt_that_cannot_be_calibrated_is_tried_as_it_is_and_that_is_said_once(tmp_path: Path) -> None:
    lines: list[str] = []

    async def work(client: Client) -> list[Candidate]:
        calibrating = CandidateCalibrator(Calibrator(client, []), study(), lines.append)
        wanted = [replace(FIXED, calibration="full"), Candidate("raw", NO_DEMOS, 1, 0, calibration="full")]
        return [(await calibrating.calibrate(search_task(), one))[1] for one in wanted]

    with classifier() as fake:
        found = run_with_client(fake, tmp_path, work)
    assert [one.calibration for one in found] == ["none", "none"] and found[0] == FIXED
    assert lines == ["prompts in the layout raw stay uncalibrated: there are no train rows to measure it on"]


def test_what_has_no_labels_or_no_log_probabilities_is_left_uncalibrated(tmp_path: Path) -> None:
    async def work(client: Client) -> list[Any]:
        return [await find_calibration(task, ("raw",), TRAIN, [], client) for task in (FREE_TEXT, TASK)]

    with classifier(DeafClassifier) as fake:
        found = run_with_client(fake, tmp_path, work)
    assert found == ["", "the endpoint ignores logit_bias"]


def trial(candidate: Candidate, value: float, first: float = 0.0) -> Trial:
    return Trial(0, 0, candidate, "p", value, {0: first}, False, 0, 1.0, 1.0)


def test_the_best_of_each_kind_of_prompt_is_a_leader() -> None:
    thinking, own = replace(FIXED, reasoning=FIELD), replace(FIXED, layout=OWN)
    near, bare = Candidate("raw", "nearest", 2, 0), Candidate("raw", NO_DEMOS, 2, 0)
    found = [trial(near, 0.3), trial(thinking, 0.9), trial(own, 0.8), trial(replace(FIXED, calibration="full"), 0.7)]
    found += [trial(replace(FIXED, k=4), 0.0, 0.1), trial(FIXED, 0.0, 0.2), trial(bare, 0.5)]
    assert leaders(space(), found) == [bare, near, FIXED], "of two that lost early the one that was right more often"


def test_the_first_choice_is_by_train_rows_stands_in_the_study_and_costs_what_measuring_does(tmp_path: Path) -> None:
    """The model favours a label so much that plain prompts are right for a third of the rows."""
    notes, fake = study(), classifier()
    near = Candidate("raw", "nearest", 2, 0)

    async def work(one: CandidateCalibrator) -> list[Candidate]:
        one.calibrator.rows = LABELLED[:16]
        task, most = search_task(), one.first_calls
        chosen = await one.choose_first(task, [trial(FIXED, 0.3), trial(near, 0.2)], LEADERS)
        asked = fake.requests
        for candidate in chosen:
            await one.calibrate(task, candidate)
        assert fake.requests == asked, "what is chosen is measured already"
        assert await one.choose_first(task, [trial(near, 0.9)], LEADERS) == chosen, "once for a study"
        assert one.calibrator.client.allowance.spent["calibration"].calls <= most
        return chosen

    chosen = with_calibrating(fake, tmp_path, notes, work)
    assert {(one.demos, one.calibration) for one in chosen[:4]} >= {("labeled-0", "full"), ("nearest", "full")}
    assert all(one.calibration != "none" for one in chosen) and len(chosen) == 6


def test_a_choice_of_calibration_stands_in_the_space_only_where_there_is_one() -> None:
    assert "calibration" not in replace(space(), calibrations=("none",)).choices
    kept = Space.from_json(
        space(biases={"a full": {"logit_bias": {"1": 0.5}, "logit_bias_texts": {"hot": 0.5}}}).to_json()
    )
    assert kept.calibrations == KINDS and kept.biases["a full"]["logit_bias"] == {"1": 0.5}
    assert (
        Candidate.from_params(
            {"layout": "raw", "demos": "none", "k": 1, "instruction": 0, "reasoning": "off"}
        ).calibration
        == "none"
    )


def test_rows_that_measure_are_labelled_ones_first() -> None:
    assert set(map(id, calibration_rows(LABELLED, TRAIN, 3))) >= set(map(id, LABELLED))
    assert len(calibration_rows(LABELLED, TRAIN, 3)) == ROWS == len(calibration_rows(LABELLED * 2, TRAIN, 3))
    assert calibration_rows(LABELLED, TRAIN, 3) != calibration_rows(LABELLED, TRAIN, 4)


def test_a_child_has_its_parents_bias_until_its_own_is_measured() -> None:
    parent = replace(FIXED, calibration="full")
    task = search_task()
    bias = {"logit_bias": {"1": 0.5}, "logit_bias_texts": {"hot": 0.5}}
    task = replace(task, space=replace(task.space, biases={bias_key(task.plain_prompt(parent), "full"): bias}))
    grown, child = with_child(task, parent, "How warm is it?")
    again, grandchild = with_child(grown, child, "Say how warm it is.")
    for one, candidate in ((grown, child), (again, grandchild)):
        assert one.prompt(candidate).decoding.bias == bias and one.prompt(candidate).id != task.prompt(parent).id
    assert with_child(task, FIXED, "How warm is it?")[0].space.biases == task.space.biases


def test_a_generation_that_a_limit_does_not_pay_the_calibration_of_stays_uncalibrated(tmp_path: Path) -> None:
    notes = study()

    async def work(one: CandidateCalibrator) -> None:
        each, all_of_them = one.max_calls, one.first_calls
        assert one.is_due("0-4") and one.leaders_due("0-4") is None and all_of_them == LEADERS * each, "no limit"
        assert (
            one.fit("0-8", all_of_them + 2 * each, 2) == one.fit("0-16", all_of_them + 2 * each - 1, 2) == all_of_them
        )
        assert one.fit("0-24", 2 * each + 1, 2) == 2 * each, "as many leaders as are paid for"
        assert one.fit("0-24", 9 * each, 2) == 2 * each, "as it was noted first"
        assert [(one.leaders_due(name), one.is_due(name)) for name in ("0-8", "0-16", "0-24")] == [
            (LEADERS, True),
            (LEADERS, False),
            (2, False),
        ]
        assert await one.choose_first(search_task(), [trial(FIXED, 0.3)], 0) == [] and one.first_calls
        await one.choose_first(search_task(), [trial(FIXED, 0.3)], 1)
        assert one.first_calls == 0 == one.fit("0-32", 9 * each, 2) and one.is_due("0-32")

    with_calibrating(classifier(), tmp_path, notes, work)


def test_a_candidate_that_is_too_long_is_no_leader(tmp_path: Path) -> None:
    async def work(one: CandidateCalibrator) -> list[Candidate]:
        task = replace(search_task(), most_tokens=0.5)
        return await one.choose_first(task, [trial(FIXED, 0.3)], LEADERS)

    assert with_calibrating(classifier(), tmp_path, study(), work) == []
