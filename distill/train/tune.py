"""Searches the learning rate, the rank and the epochs of a training (`--search N`), pruned on the dev metric.

An Optuna study in a journal file. Trial n depends on the seed and the finished trials before it. A trial that a kill
interrupted runs again with its parameters, and its training continues from its checkpoint.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.trial import Trial, TrialState

from distill.train.hyper import RANKS, HyperParameters
from distill.train.job import KeepGoing
from optimizer.search.journal import open_journal
from promptstill.errors import UserError
from promptstill.files import digest

LR_FACTOR = 5.0  # the range reaches this far below and above the given learning rate: almost a decade and a half
EPOCHS = (1, 5)
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
# Trains with these hyper-parameters in this folder, asks `KeepGoing` after each epoch, and returns the best dev score.
TrainOnce = Callable[[HyperParameters, Path, KeepGoing], float]
ReportTrial = Callable[[int, HyperParameters, float | None], None]


@dataclass(frozen=True)
class TunedHyper:
    """The best hyper-parameters, their dev score, and the folder where their training is already finished."""

    hyper: HyperParameters
    score: float
    work_dir: Path
    trials: int


def tune(train_once: TrainOnce, start: HyperParameters, count: int, folder: Path, report: ReportTrial) -> TunedHyper:
    """Run trials until `folder` has `count` finished ones, those of earlier calls included; the first tries `start`.

    `report(number, hyper, score)` is called after each finished trial; the score of a pruned one is None. Only the best
    trial's folder is kept. One process alone may call this: distill/plan.py refuses several.
    """
    folder.mkdir(parents=True, exist_ok=True)
    study = _open_study(folder, start)
    _requeue_killed(study)
    while len(finished := study.get_trials(deepcopy=False, states=FINISHED)) < count:
        study.sampler = _sampler(start.seed, len(finished))
        trial = study.ask()
        hyper = suggest_hyper(trial, start)
        score = _run_trial(study, trial, train_once, hyper, folder)
        report(len(finished) + 1, hyper, score)
        _remove_losers(study, start, folder)
    best = study.best_trial
    hyper = trial_hyper(best.params, start)
    return TunedHyper(hyper, float(best.value or 0.0), trial_dir(folder, hyper), len(finished))


def suggest_hyper(trial: Trial, start: HyperParameters) -> HyperParameters:
    """The trial's hyper-parameters: log-uniform learning rate, an allowed rank, a number of epochs."""
    trial.suggest_float("lr", start.lr / LR_FACTOR, min(start.lr * LR_FACTOR, 0.05), log=True)
    trial.suggest_categorical("r", RANKS)
    trial.suggest_int("epochs", min(EPOCHS[0], start.epochs), max(EPOCHS[1], start.epochs))
    return trial_hyper(trial.params, start)


def trial_hyper(params: dict[str, Any], start: HyperParameters) -> HyperParameters:
    return replace(start, lr=params["lr"], r=params["r"], epochs=params["epochs"])


def trial_dir(folder: Path, hyper: HyperParameters) -> Path:
    """Where a trial trains: named by its hyper-parameters, so that a trial that runs again finds its checkpoint."""
    return folder / f"trial-{digest(asdict(hyper))[:12]}"


def _open_study(folder: Path, start: HyperParameters) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner, journal = MedianPruner(n_startup_trials=3), open_journal(folder / "study.log")
    study = optuna.create_study(
        storage=journal, study_name="training", direction="maximize", load_if_exists=True, pruner=pruner
    )
    settings = digest(asdict(start))
    if study.user_attrs.get("settings", settings) != settings:
        raise UserError(f"The search in {folder} began from other settings.", "", "Remove it, or give those settings.")
    study.set_user_attr("settings", settings)
    if not study.get_trials(deepcopy=False):
        study.enqueue_trial({"lr": start.lr, "r": start.r, "epochs": start.epochs})
    return study


def _requeue_killed(study: optuna.Study) -> None:
    """Trials that a killed process left running are queued again with their parameters."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        if {"lr", "r", "epochs"} <= trial.params.keys():
            study.enqueue_trial(dict(trial.params))


def _sampler(seed: int, number: int) -> TPESampler:
    return TPESampler(seed=int(digest([seed, number])[:8], 16), n_startup_trials=4)


def _run_trial(
    study: optuna.Study, trial: Trial, train_once: TrainOnce, hyper: HyperParameters, folder: Path
) -> float | None:
    """The trial's dev score; None where it was pruned."""
    pruned = False

    def keep_going(epoch: int, score: float) -> bool:
        nonlocal pruned
        trial.report(score, epoch)
        pruned = epoch < hyper.epochs and trial.should_prune()
        return not pruned

    score = train_once(hyper, trial_dir(folder, hyper), keep_going)
    if pruned:
        study.tell(trial, state=TrialState.PRUNED)
        return None
    study.tell(trial, score)
    return score


def _remove_losers(study: optuna.Study, start: HyperParameters, folder: Path) -> None:
    best = trial_dir(folder, trial_hyper(study.best_trial.params, start)) if _has_best(study) else None
    for path in folder.glob("trial-*"):
        if path != best:
            shutil.rmtree(path, ignore_errors=True)


def _has_best(study: optuna.Study) -> bool:
    return bool(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
