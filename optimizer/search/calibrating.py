"""Calibrated candidates: the bias of each is measured once, and kept in the study for all who share it."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from optimizer.search.candidate import Candidate
from optimizer.search.leave_out import LeaveOut
from optimizer.search.race import average
from optimizer.search.space import Space, bias_key
from optimizer.search.study import StoredStudy, Trial
from optimizer.search.task import SearchTask
from promptstill.endpoint.client import Client
from promptstill.events import Say
from promptstill.prompt.layouts import Layout
from promptstill.prompt.layouts.build import build_prompt
from promptstill.prompt.layouts.task import Task
from promptstill.prompt.prompt import Prompt
from promptstill.scoring.calibration import KINDS, NONE, Kind, NoCalibration
from promptstill.scoring.calibration.abilities import find_label_abilities
from promptstill.scoring.calibration.calibrate import Bias, Calibrator, PromptFor, is_right
from promptstill.scoring.calibration.label_answers import LabelAnswers
from promptstill.task.examples import Example

TOPIC = "calibration"  # of the study's notes of biases
FIRST_TOPIC = "calibrated first"
FITS_TOPIC = "calibrated generation"
ROWS = 32  # by which a bias is measured: its mean is known to a fifth of a logit or so
LEADERS = 4  # candidates of the first race that are calibrated before others
CHOSEN = 6  # of a leader and a kind, by their rank on train rows


class CandidateCalibrator:
    """Measures the biases of one search's candidates, each row left out of its own demos.

    say: gets a line for each new reason why a prompt cannot be calibrated.
    """

    def __init__(self, calibrator: Calibrator, study: StoredStudy, say: Say) -> None:
        self.calibrator, self.study, self.say = calibrator, study, say
        self.answers = LabelAnswers(calibrator)
        self._reasons: set[str] = set()

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What a candidate may choose from."""
        return KINDS if self.calibrator.labelled else tuple(kind for kind in KINDS if kind != "fitted")

    @property
    def first_calls(self) -> int:
        """The calls that `choose_first` takes at most; none once it has chosen."""
        return 0 if self.study.note(FIRST_TOPIC) else LEADERS * self.max_calls

    def fit(self, generation: str, room: float, least: int) -> int:
        """Note what `room` pays for before a generation: the bias of how many leaders of the first race, and whether
        that of `least` other candidates. The calls that the leaders take at most."""
        leaders = None if self.study.note(FIRST_TOPIC) else int(min(LEADERS, room // self.max_calls))
        others = least * self.max_calls <= room - (leaders or 0) * self.max_calls
        self.study.first_note(f"{FITS_TOPIC} {generation}", json.dumps([leaders, others]))
        return (self._due(generation)[0] or 0) * self.max_calls

    def _due(self, generation: str) -> tuple[int | None, bool]:
        """What was noted; all without limit, and in a run of an earlier version."""
        noted = json.loads(self.study.note(f"{FITS_TOPIC} {generation}") or "true")
        return (None if noted else 0, noted) if isinstance(noted, bool) else (noted[0], noted[1])

    def leaders_due(self, generation: str) -> int | None:
        """How many leaders of the first race are measured before a generation; None where that was done before."""
        return self._due(generation)[0]

    def is_due(self, generation: str) -> bool:
        """Whether what is suggested for a generation is calibrated."""
        return self._due(generation)[1]

    @property
    def max_calls(self) -> int:
        """The calls that one candidate takes at most."""
        return max(map(self.calibrator.max_calls, self.kinds))

    async def calibrate(self, task: SearchTask, candidate: Candidate) -> tuple[SearchTask, Candidate]:
        """The task with the candidate's bias in its space; where it has none, the candidate is the uncalibrated one."""
        key = bias_key(task.plain_prompt(candidate), candidate.calibration)
        if key not in task.space.biases:
            noted = self.study.note(f"{TOPIC} {key}")
            if noted is None:
                measured = json.dumps(await self._measure(task, candidate))
                noted = self.study.first_note(f"{TOPIC} {key}", measured)
            bias = json.loads(noted)
            if bias is None:
                return task, replace(candidate, calibration=NONE)
            task = replace(task, space=replace(task.space, biases={**task.space.biases, key: bias}))
        return task, candidate

    async def choose_first(self, task: SearchTask, history: Sequence[Trial], count: int | None) -> list[Candidate]:
        """The calibrated candidates that are tried before TPE suggests any, the most promising first. history: of the
        first race, whose `count` leaders are measured, all where it is None; what was chosen stands in the study.

        The rows that measure a leader's bias are labelled, so they also tell how often it would be right with the bias
        taken back: a call buys both.
        """
        if count == 0:
            return []
        noted = self.study.note(FIRST_TOPIC)
        if noted is None:
            short = [one for one in history if one.prompt_tokens <= task.most_tokens]
            accuracies = {
                replace(leader, calibration=kind): await self._accuracy(task, leader, kind)
                for leader in leaders(task.space, short)[:count]
                for kind in self.kinds
            }
            ranked = sorted(accuracies, key=lambda one: -accuracies[one])[:CHOSEN]
            chosen = [one.to_params() for one in ranked if one.calibration != NONE]
            noted = self.study.first_note(FIRST_TOPIC, json.dumps(chosen))
        return [Candidate.from_params(params) for params in json.loads(noted)]

    async def _accuracy(self, task: SearchTask, candidate: Candidate, kind: Kind) -> float:
        """Of a candidate's prompt with its bias taken back; below zero where that cannot be."""
        plain = task.plain_prompt(candidate)
        try:
            return await self.calibrator.accuracy(plain, kind, left_out_of(task, candidate, plain))
        except NoCalibration as problem:
            self._tell(candidate, problem)
            return -1.0

    def _tell(self, candidate: Candidate, problem: NoCalibration) -> None:
        if str(problem) not in self._reasons:
            self._reasons.add(str(problem))
            self.say(f"prompts in the layout {candidate.layout} stay uncalibrated: {problem}")

    async def _measure(self, task: SearchTask, candidate: Candidate) -> Bias | None:
        """The bias; None where the prompt cannot be calibrated, which is said."""
        plain = task.plain_prompt(candidate)
        try:
            return (await self.calibrator.find(plain, candidate.calibration, left_out_of(task, candidate, plain))).bias
        except NoCalibration as problem:
            self._tell(candidate, problem)
            return None

    def confidence_calls(self, task: SearchTask) -> int:
        """The calls that `confidences` takes at most."""
        return self.calibrator.most_forks * len(task.dev)

    async def confidences(self, task: SearchTask, candidate: Candidate) -> tuple[np.ndarray, np.ndarray]:
        """The probability that a calibrated candidate's prompt gives the label of its reply to each row of dev, 0 to 1,
        NaN where the endpoint does not tell; and whether that label is right.

        What was measured to calibrate it is stored, so only dev is asked: each row once at each place where labels
        part. Raises `NoCalibration`.
        """
        plain = task.plain_prompt(candidate)
        asked = left_out_of(task, candidate, plain)
        found = await self.calibrator.find(plain, candidate.calibration, asked)
        sure = await self.calibrator.probabilities(plain, found, task.dev, asked)
        return sure.max(axis=1), is_right(plain, found, task.dev, sure)


def left_out_of(task: SearchTask, candidate: Candidate, plain: Prompt) -> PromptFor:
    """What a row is asked: the candidate's prompt without the demos of the row's own group."""
    left_out = LeaveOut(task)
    return lambda row: left_out.prompt(task, candidate, plain, row)


def known_biases(study: StoredStudy) -> dict[str, Bias]:
    """All biases that any process of the study has measured, by `bias_key`."""
    noted = {key: json.loads(value) for key, value in study.notes_about(TOPIC).items()}
    return {key: bias for key, bias in noted.items() if bias is not None}


def leaders(space: Space, history: Sequence[Trial]) -> list[Candidate]:
    """Of each layout and kind of demos the best candidate that can be calibrated, the best first: prompts that differ
    so much have biases of their own, and one that its bias keeps from scoring may be the best without it."""
    best: dict[tuple[str, str], Candidate] = {}
    for trial in sorted(history, key=lambda trial: (-trial.value, -average(trial.scores))):
        candidate = trial.candidate
        if candidate.calibration == NONE and space.can_calibrate(candidate):
            chosen = space.demo_sets[candidate.demos]
            kind = "nearest" if chosen.nearest else "fixed" if chosen.demos else "none"
            best.setdefault((candidate.layout, kind), candidate)
    return list(best.values())[:LEADERS]


async def find_calibration(
    task: Task, layouts: Sequence[Layout], rows: Sequence[Example], labelled: Sequence[Example], client: Client
) -> Calibrator | str:
    """What calibrates the prompts of a task, or why none can be; an empty text where its first output is no label.

    rows, labelled: as in `Calibrator`; the prompts are tried in each layout, since labels part at other places there.
    """
    if not has_labels(task):
        return ""
    able = await find_label_abilities(client, task.model)
    if not able.can_calibrate:
        return able.problem
    calibrator, places, problem = Calibrator(client, rows, labelled), 0, ""
    for layout in layouts:
        try:
            _, forks = await calibrator.forks(build_prompt(task, layout, task.signature.instructions), rows[0])
        except NoCalibration as one:
            problem = str(one)
        else:
            places = max(places, sum(fork.parts for fork in forks))
    return Calibrator(client, rows, labelled, places) if places else problem


def has_labels(task: Task) -> bool:
    """Whether the first output is one of a closed set; a program's replies are as DSPy asks for them, in its place."""
    return not task.in_program and len(task.outputs[0].choices or ()) > 1


def calibration_rows(labelled: Sequence[Example], unlabelled: Sequence[Example], seed: int) -> list[Example]:
    """The rows by which biases are measured: labelled ones, which tell more, and unlabelled where these are few."""
    rng = random.Random(f"{seed}-calibration")
    return [*rng.sample(labelled, len(labelled)), *rng.sample(unlabelled, len(unlabelled))][:ROWS]
