"""The Optuna study: proposes candidates, and keeps every finished trial in a persistent storage.

Candidates of a generation depend on nothing but the seed and the trials of earlier generations, so a run that was
killed proposes the same ones again. Only finished trials are stored: a kill leaves no half of one behind.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.storages import BaseStorage
from optuna.trial import TrialState, create_trial
from tenacity import Retrying, stop_after_attempt, wait_fixed

from optimizer.errors import UserError
from optimizer.files import digest
from optimizer.journal import open_journal

optuna.logging.set_verbosity(optuna.logging.WARNING)
SETTLED = 16
Params = Mapping[str, str | int]
Space = Mapping[str, Sequence[str | int]]


@dataclass(frozen=True)
class Trial:
    """A finished trial, `scores` by dev row. Where racing ended it early (`lost`), `value` is an estimate.

    seconds: the median wait of a request under the search's load; 0.0 in studies that did not keep it.
    """

    worker: int
    slot: int
    params: dict[str, str | int]
    prompt_id: str
    value: float
    scores: dict[int, float]
    lost: bool
    unparsed: int
    prompt_tokens: float
    completion_tokens: float
    seconds: float = 0.0

    @property
    def tokens(self) -> float:
        return self.prompt_tokens + self.completion_tokens


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """The space as Optuna takes it; all choices are scalars, as persistent storages demand."""
    return {name: CategoricalDistribution(list(choices)) for name, choices in space.items()}


def suggest(space: Space, history: Sequence[Trial], count: int, seed: str) -> list[dict[str, str | int]]:
    """`count` candidates from multivariate TPE over `history`: a pure function of its arguments.

    Half of them have the best trial's layout, three quarters after `SETTLED` trials: layouts differ most, and once they
    are told apart the demos within the best one are where the search pays. TPE alone needs more trials than a small
    budget has to see it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = TPESampler(seed=int(digest(seed)[:8], 16), multivariate=True, constant_liar=True, n_startup_trials=8)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    dists = distributions(space)
    for trial in history:
        study.add_trial(create_trial(params=dict(trial.params), distributions=dists, value=trial.value))
    best = max((trial for trial in history if not trial.lost), key=lambda trial: trial.value, default=None)
    free = 2 if len(history) < SETTLED else 4  # every so many is left to TPE alone
    asked = []
    for number in range(count):
        if best and number % free:
            study.enqueue_trial({"layout": best.params["layout"]})
        asked.append(dict(study.ask(fixed_distributions=dists).params))
    return asked


class StoredStudy:
    """Finished trials in an Optuna storage: the run's journal file, or any URL that several processes share."""

    def __init__(self, storage: BaseStorage | str, name: str) -> None:
        self.study = optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)

    @classmethod
    def open(cls, url: str | None, path: Path, name: str) -> StoredStudy:
        """By URL where one is given, else the journal at `path`. Raises `UserError` for a URL that cannot be opened."""
        if url is None:
            return cls(open_journal(path), name)
        # Two processes that create the tables at once trip over each other.
        patiently = Retrying(stop=stop_after_attempt(3), wait=wait_fixed(1), reraise=True)
        try:
            return patiently(cls, url, name)
        except Exception as error:  # each database driver has its own errors
            raise UserError(
                f"The storage {url} cannot be opened.",
                str(error),
                "Give an Optuna URL, such as sqlite:///study.db, and install its driver.",
            ) from error

    def first(self, topic: str, value: str) -> str:
        """The first value that any process of the study gave for a topic; ours where none did.

        No storage has compare-and-set, but all append in one order: a note is a failed trial without parameters.
        """
        noted = self._noted(topic)
        if noted is None:
            self.study.add_trial(create_trial(state=TrialState.FAIL, user_attrs={"topic": topic, "said": value}))
            noted = self._noted(topic)
        return value if noted is None else noted

    def _noted(self, topic: str) -> str | None:
        notes = (one.user_attrs for one in self.study.get_trials(deepcopy=False, states=(TrialState.FAIL,)))
        return next((str(note["said"]) for note in notes if note.get("topic") == topic), None)

    def bind(self, subject: str) -> None:
        """Tie the study to what its scores are of (rows, recipe, weights), as a hash. Raises `UserError` on another."""
        if self.first("subject", subject) != subject:
            raise UserError(
                f"The study {self.study.study_name} is of another recipe, other rows or another model.",
                "Its trials' scores would be mixed with this run's.",
                "Name a new one with --study.",
            )

    def claim(self, prompt_id: str, worker: int) -> bool:
        """Whether this worker may try the candidate: the first to ask may, also when it comes back after a kill."""
        return self.first(f"candidate {prompt_id}", str(worker)) == str(worker)

    def begin(self, generation: str, size: int) -> int:
        """Note that a generation of so many candidates begins; the size, or that which was noted first."""
        return int(self.first(f"generation {generation}", str(size)))

    def begun(self, generation: str) -> int | None:
        """The size of a generation that was begun, by an earlier part of the run perhaps."""
        noted = self._noted(f"generation {generation}")
        return None if noted is None else int(noted)

    def pools(self) -> dict[str, Any] | None:
        """The pools that trials of this study choose from, once some process has frozen them."""
        text = self._noted("pools")
        return json.loads(text) if text else None

    def freeze_pools(self, pools: dict[str, Any]) -> dict[str, Any]:
        """The study's pools: these, or those of a process that was faster. Names in trials mean the same to all."""
        return dict(json.loads(self.first("pools", json.dumps(pools))))

    def trials(self) -> list[Trial]:
        """All finished trials, in the order of worker and slot."""
        stored = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        found = {(t.worker, t.slot): t for t in (from_stored(one.user_attrs, one) for one in stored)}
        return [found[key] for key in sorted(found)]

    def add(self, trial: Trial, space: Space) -> None:
        """Store a finished trial, in one write. A range may have grown since the last one: an SQL storage allows that
        to whole numbers alone."""
        attrs = {key: value for key, value in asdict(trial).items() if key not in ("params", "scores", "value")}
        grown = {name: IntDistribution(0, len(them) - 1) for name, them in space.items() if isinstance(them, range)}
        self.study.add_trial(
            create_trial(
                params=dict(trial.params),
                distributions=distributions(space) | grown,
                value=trial.value,
                intermediate_values=trial.scores,
                user_attrs=attrs,
            )
        )


def from_stored(attrs: Mapping[str, Any], stored: optuna.trial.FrozenTrial) -> Trial:
    return Trial(
        params=dict(stored.params), scores=dict(stored.intermediate_values), value=float(stored.value or 0.0), **attrs
    )
