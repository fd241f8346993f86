"""Suggests candidates by Optuna's TPE.

They depend on nothing but the seed and the trials of earlier generations, so a run that was killed suggests the same
ones again.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import optuna
from optuna.samplers import TPESampler
from optuna.trial import create_trial

from optimizer.search.candidate import Candidate, Choices
from optimizer.search.study import Trial, distributions
from promptstill.files import digest
from promptstill.prompt.layouts import Layout

SETTLED_TRIALS = 16  # after which the best layout is taken to be known
FITTED_TRIALS = 8  # of one layout, with which TPE is fitted to them alone


def suggest_candidates(choices: Choices, history: Sequence[Trial], count: int, seed: str) -> list[Candidate]:
    """`count` candidates from multivariate TPE over `history`: a pure function of its arguments.

    Half of them have the best trial's layout, three quarters after `SETTLED_TRIALS`: layouts differ most, and once they
    are told apart the demos within the best one are where the search pays. TPE alone needs more trials than a small
    limit has to see it. The user's own prompt has no choices to learn from.
    """
    history = [trial for trial in history if trial.candidate.layout in choices["layout"]]
    anywhere = Tpe(choices, history, seed)
    best = max((trial for trial in history if not trial.lost), key=lambda trial: trial.value, default=None)
    if best is None:
        return [anywhere.suggest() for _ in range(count)]
    free = 2 if len(history) < SETTLED_TRIALS else 4  # every so many is left to TPE alone
    layout = best.candidate.layout
    within = tpe_within(layout, choices, history, seed) or anywhere
    return [within.suggest(layout) if number % free else anywhere.suggest() for number in range(count)]


class Tpe:
    """Multivariate TPE fitted to some trials. What it has suggested counts as poor, so that it suggests others."""

    def __init__(self, choices: Choices, history: Sequence[Trial], seed: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = TPESampler(
                seed=int(digest(seed)[:8], 16), multivariate=True, constant_liar=True, n_startup_trials=FITTED_TRIALS
            )
        self.study = optuna.create_study(direction="maximize", sampler=sampler)
        self.distributions = distributions(choices)
        for trial in history:
            params = trial.candidate.chosen(choices)
            self.study.add_trial(create_trial(params=params, distributions=self.distributions, value=trial.value))

    def suggest(self, layout: Layout | None = None) -> Candidate:
        """The next candidate; of this layout, where one is given."""
        if layout is not None:
            self.study.enqueue_trial({"layout": layout})
        return Candidate.from_params(self.study.ask(fixed_distributions=self.distributions).params)


def tpe_within(layout: Layout, choices: Choices, history: Sequence[Trial], seed: str) -> Tpe | None:
    """TPE fitted to the trials of one layout, once there are enough of them.

    Fitted to all, it draws the other choices together with a layout of its own, for which they may be good alone.
    """
    trials = [trial for trial in history if trial.candidate.layout == layout]
    enough = len(trials) >= FITTED_TRIALS
    return Tpe({**choices, "layout": (layout,)}, trials, f"{seed}-{layout}") if enough else None
