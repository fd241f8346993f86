"""Searches the learning rate, the rank and the epochs of a training (`--search N`), pruned on the dev metric.

An Optuna study in a journal file. Trial n depends on the seed and the finished trials before it; one that a kill cut
short is taken up again with its parameters, and its training goes on from its checkpoint.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.trial import Trial, TrialState

from distill.hyper import RANKS, Hyper
from optimizer.errors import UserError
from optimizer.files import digest
from optimizer.journal import open_journal

LR_FACTOR = 5.0  # a decade and a half around the given learning rate
EPOCHS = (1, 5)
KeepGoing = Callable[[int, float], bool]
# Trains with these hyper-parameters in this folder, asks `KeepGoing` after each epoch, and returns the best dev score.
TrainOnce = Callable[[Hyper, Path, KeepGoing], float]
Told = Callable[[int, Hyper, float | None], None]


@dataclass(frozen=True)
class Found:
    """The best hyper-parameters, their dev score, and the folder where their training is already finished."""

    hyper: Hyper
    score: float
    work_dir: Path
    trials: int


def search(train_once: TrainOnce, start: Hyper, count: int, folder: Path, told: Told) -> Found:
    """`count` trials altogether, those of earlier calls on `folder` included; the first has `start` itself.

    `told(number, hyper, score)` hears of each finished trial; the score is None where it was pruned. Folders of trials
    that are not the best are removed. Raises `UserError` under `accelerate launch`.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(
            "--search runs in one process.", "Several would each propose trials.", "Search first, launch then."
        )
    folder.mkdir(parents=True, exist_ok=True)
    study = _open(folder, start)
    _take_up_again(study)
    while len(finished := study.get_trials(deepcopy=False, states=_DONE)) < count:
        study.sampler = _sampler(start.seed, len(finished))
        trial = study.ask()
        hyper = suggest(trial, start)
        score = _run(study, trial, train_once, hyper, folder)
        told(len(finished) + 1, hyper, score)
        _sweep(study, start, folder)
    best = study.best_trial
    hyper = hyper_of(best.params, start)
    return Found(hyper, float(best.value or 0.0), work_dir(folder, hyper), len(finished))


_DONE = (TrialState.COMPLETE, TrialState.PRUNED)


def suggest(trial: Trial, start: Hyper) -> Hyper:
    """The trial's hyper-parameters: log-uniform learning rate, an allowed rank, a number of epochs."""
    trial.suggest_float("lr", start.lr / LR_FACTOR, min(start.lr * LR_FACTOR, 0.05), log=True)
    trial.suggest_categorical("r", RANKS)
    trial.suggest_int("epochs", min(EPOCHS[0], start.epochs), max(EPOCHS[1], start.epochs))
    return hyper_of(trial.params, start)


def hyper_of(params: dict[str, Any], start: Hyper) -> Hyper:
    return replace(start, lr=params["lr"], r=params["r"], epochs=params["epochs"])


def work_dir(folder: Path, hyper: Hyper) -> Path:
    """Where a trial trains: by its hyper-parameters, so that one taken up again finds its checkpoint."""
    return folder / f"trial-{digest(asdict(hyper))[:12]}"


def _open(folder: Path, start: Hyper) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner, journal = MedianPruner(n_startup_trials=3), open_journal(folder / "study.log")
    study = optuna.create_study(
        storage=journal, study_name="training", direction="maximize", load_if_exists=True, pruner=pruner
    )
    subject = digest(asdict(start))
    if study.user_attrs.get("subject", subject) != subject:
        raise UserError(f"The search in {folder} began from other settings.", "", "Remove it, or give those settings.")
    study.set_user_attr("subject", subject)
    if not study.get_trials(deepcopy=False):
        study.enqueue_trial({"lr": start.lr, "r": start.r, "epochs": start.epochs})
    return study


def _take_up_again(study: optuna.Study) -> None:
    """Trials that a killed process left running are queued anew with their parameters."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        if {"lr", "r", "epochs"} <= trial.params.keys():
            study.enqueue_trial(dict(trial.params))


def _sampler(seed: int, number: int) -> TPESampler:
    return TPESampler(seed=int(digest([seed, number])[:8], 16), n_startup_trials=4)


def _run(study: optuna.Study, trial: Trial, train_once: TrainOnce, hyper: Hyper, folder: Path) -> float | None:
    pruned = False

    def keep_going(epoch: int, score: float) -> bool:
        nonlocal pruned
        trial.report(score, epoch)
        pruned = epoch < hyper.epochs and trial.should_prune()
        return not pruned

    score = train_once(hyper, work_dir(folder, hyper), keep_going)
    if pruned:
        study.tell(trial, state=TrialState.PRUNED)
        return None
    study.tell(trial, score)
    return score


def _sweep(study: optuna.Study, start: Hyper, folder: Path) -> None:
    kept = work_dir(folder, hyper_of(study.best_trial.params, start)) if _has_best(study) else None
    for path in folder.glob("trial-*"):
        if path != kept:
            shutil.rmtree(path, ignore_errors=True)


def _has_best(study: optuna.Study) -> bool:
    return bool(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
