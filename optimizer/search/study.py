"""The Optuna study: keeps every finished trial in a persistent storage. A kill leaves no half of one behind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.storages import BaseStorage, get_storage
from optuna.trial import FrozenTrial, TrialState, create_trial
from tenacity import Retrying, stop_after_attempt, wait_fixed

from optimizer.search.candidate import Candidate, Choices
from optimizer.search.journal import open_journal
from promptstill.errors import UserError

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Trial:
    """A finished trial: a candidate with its `scores` by dev row. Where racing ended it early (`lost`), `value` is a
    projection to all rows.

    seconds: the median wait of a request under the search's load. labels, influence: for a metric of a whole split, the
    label of each answer, and each row's part in a finalist's value (ranking.py); else empty.
    """

    worker: int
    slot: int
    candidate: Candidate
    prompt_id: str
    value: float
    scores: dict[int, float]
    lost: bool
    unparsed: int
    prompt_tokens: float
    completion_tokens: float
    seconds: float = 0.0
    labels: dict[int, str | None] = field(default_factory=dict)
    influence: dict[int, float] = field(default_factory=dict)

    @property
    def row_values(self) -> dict[int, float]:
        """A value for each row, whose mean is that by which finalists are compared."""
        return self.influence or self.scores

    @property
    def tokens(self) -> float:
        return self.prompt_tokens + self.completion_tokens

    def to_json(self) -> dict[str, Any]:
        """For files and for the study's attributes, where choices stand by name."""
        kept = {name: one for name, one in vars(self).items() if name != "influence" and (name != "labels" or one)}
        return {**kept, "candidate": self.candidate.to_params()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Trial:
        scores = {int(row): float(score) for row, score in value["scores"].items()}
        labels = {int(row): label for row, label in value.get("labels", {}).items()}
        parts = {"candidate": Candidate.from_params(value["candidate"]), "scores": scores, "labels": labels}
        return cls(**{**value, **parts})


@dataclass(frozen=True)
class Generation:
    """What the limits leave a later generation: so many candidates at most, and the calls of their race; None where it
    goes over all of dev, as it did in a run of an earlier version."""

    size: int
    calls: int | None = None


def distributions(choices: Choices) -> dict[str, BaseDistribution]:
    """The choices as Optuna takes them; all are scalars, as persistent storages demand."""
    return {name: CategoricalDistribution(list(values)) for name, values in choices.items()}


class StoredStudy:
    """Finished trials in an Optuna storage: the run's journal file, or any URL that several processes share.

    Notes, by which the processes agree, are the trials of a second study beside it, NAME-notes: study attributes are
    last-writer-wins, and failed trials in the study itself would fill its dashboard.
    """

    def __init__(self, storage: BaseStorage, name: str) -> None:
        self.study = optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)
        self.notes = optuna.create_study(storage=storage, study_name=f"{name}-notes", load_if_exists=True)

    @classmethod
    def open(cls, url: str | None, path: Path, name: str) -> StoredStudy:
        """By URL where one is given, else the journal at `path`. Raises `UserError` for a URL that cannot be opened."""
        if url is None:
            return cls(open_journal(path), name)
        # Two processes that create the tables at once trip over each other.
        patiently = Retrying(stop=stop_after_attempt(3), wait=wait_fixed(1), reraise=True)
        try:
            return patiently(lambda: cls(get_storage(url), name))
        except Exception as error:  # each database driver has its own errors
            raise UserError(
                f"The storage {url} cannot be opened.",
                str(error),
                "Give an Optuna URL, such as sqlite:///study.db, and install its driver.",
            ) from error

    def first_note(self, topic: str, value: str) -> str:
        """The first value that any process of the study noted on a topic; ours where none did.

        No storage has compare-and-set, but all append in one order, which every process sees alike.
        """
        noted = self.note(topic)
        if noted is None:
            self.notes.add_trial(create_trial(state=TrialState.FAIL, user_attrs={"topic": topic, "value": value}))
            noted = self.note(topic)
        return value if noted is None else noted

    def note(self, topic: str) -> str | None:
        """What was noted on a topic, or None."""
        notes = (one.user_attrs for one in self.notes.get_trials(deepcopy=False))
        return next((str(note["value"]) for note in notes if note["topic"] == topic), None)

    def notes_about(self, topic: str) -> dict[str, str]:
        """The first note on each topic that begins with this one and a space, by the rest of its name."""
        found: dict[str, str] = {}
        for note in (one.user_attrs for one in self.notes.get_trials(deepcopy=False)):
            if note["topic"].startswith(f"{topic} "):
                found.setdefault(note["topic"].removeprefix(f"{topic} "), str(note["value"]))
        return found

    def bind(self, subject: str) -> None:
        """Tie the study to what its scores are of (rows, recipe, weights), as a hash. Raises `UserError` on another."""
        if self.first_note("subject", subject) != subject:
            raise UserError(
                f"The study {self.study.study_name} is of another recipe, other rows or another model.",
                "Its trials' scores would be mixed with this run's.",
                "Name a new one with --study.",
            )

    def claim(self, prompt_id: str, worker: int) -> bool:
        """Whether this worker may try the candidate: the first to ask may, also when it comes back after a kill."""
        return self.first_note(f"candidate {prompt_id}", str(worker)) == str(worker)

    def begin_generation(self, name: str, generation: Generation) -> Generation:
        """Note a generation that begins; that, or the one which was noted first."""
        self.first_note(f"generation {name}", json.dumps([generation.size, generation.calls]))
        return self.generation(name) or generation

    def generation(self, name: str) -> Generation | None:
        """A generation that has begun, in an earlier part of the run perhaps."""
        note = self.note(f"generation {name}")
        if note is None:
            return None
        noted = json.loads(note)
        return Generation(noted) if isinstance(noted, int) else Generation(*noted)

    def trials(self) -> list[Trial]:
        """All finished trials, in the order of worker and slot."""
        stored = map(from_optuna, self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
        found = {(trial.worker, trial.slot): trial for trial in stored}
        return [found[key] for key in sorted(found)]

    def add(self, trial: Trial, choices: Choices) -> None:
        """Store a finished trial, in one write.

        Choices grow during a search, which an SQL storage allows to whole numbers alone. So demo sets and instructions
        stand there by their place; the attributes have the names.
        """
        attributes = {key: value for key, value in trial.to_json().items() if key not in ("scores", "value")}
        places = {
            "demos": list(choices["demos"]).index(trial.candidate.demos),
            "instruction": trial.candidate.instruction,
        }
        grown = {name: IntDistribution(0, len(choices[name]) - 1) for name in places}
        self.study.add_trial(
            create_trial(
                params=trial.candidate.chosen(choices) | places,
                distributions=distributions(choices) | grown,
                value=trial.value,
                intermediate_values=trial.scores,
                user_attrs=attributes,
            )
        )


def from_optuna(stored: FrozenTrial) -> Trial:
    return Trial.from_json(
        {**stored.user_attrs, "scores": stored.intermediate_values, "value": float(stored.value or 0)}
    )
