"""Which choices mattered: Optuna's importances over the trials, held against chance.

With a dozen trials any choice looks important. So the scores are dealt anew among the trials many times: an importance
that such shuffled scores reach too says nothing, and is shown as that.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import create_trial

from optimizer.search.candidate import Choices
from optimizer.search.study import Trial, distributions

FEWEST = 12  # trials below which nothing is shown
TOP = 5  # trials that Optuna asks for among the best, for a stable answer
SHUFFLES = 40


@dataclass(frozen=True)
class Importance:
    """A choice's share of the importance, from 0 to 1, and the share that 19 of 20 shuffles stay below."""

    choice: str
    share: float
    chance: float

    @property
    def clear(self) -> bool:
        return self.share > self.chance


@dataclass(frozen=True)
class TriedValue:
    """One value of a choice: how many trials had it, and their mean and best score on dev."""

    value: str | int
    trials: int
    mean: float
    best: float


def importances(trials: Sequence[Trial], space: Choices, seed: int) -> list[Importance]:
    """The choices by importance (PED-ANOVA; Watanabe et al. 2023, by Optuna); none for fewer than FEWEST trials."""
    values = [trial.value for trial in trials]
    if len(trials) < FEWEST or len(set(values)) < 2:
        return []
    found = shares(trials, values, space)
    rng = random.Random(seed)
    dealt = [shares(trials, rng.sample(values, len(values)), space) for _ in range(SHUFFLES)]
    chance = {choice: sorted(one[choice] for one in dealt)[int(0.95 * SHUFFLES)] for choice in found}
    return [Importance(choice, share, chance[choice]) for choice, share in found.items()]


def shares(trials: Sequence[Trial], values: Sequence[float], space: Choices) -> dict[str, float]:
    """Each choice's share, the largest first, were `values` the scores of `trials`."""
    dists = distributions(space)
    study = optuna.create_study(direction="maximize")
    for trial, value in zip(trials, values, strict=True):
        study.add_trial(create_trial(params=trial.candidate.chosen(space), distributions=dists, value=value))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # Where nearly all trials tie, all choices get the same share: that is what there is to tell.
        warnings.filterwarnings("ignore", "Target and region quantiles select the same set of trials")
        evaluator = PedAnovaImportanceEvaluator(target_quantile=max(0.1, TOP / len(trials)))
        found = get_param_importances(study, evaluator=evaluator)
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))  # Optuna's order of ties is chance


def tried_values(trials: Sequence[Trial], space: Choices) -> dict[str, list[TriedValue]]:
    """What was tried of each choice, the best value first."""
    by: Mapping[str, dict[str | int, list[float]]] = {choice: {} for choice in space}
    for trial in trials:
        for choice, value in trial.candidate.chosen(space).items():
            by[choice].setdefault(value, []).append(trial.value)
    return {
        choice: sorted((TriedValue(v, len(s), mean(s), max(s)) for v, s in values.items()), key=lambda one: -one.best)
        for choice, values in by.items()
    }
