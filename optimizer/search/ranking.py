"""By what finalists are compared: the metric's score of a whole split, where the metric is one; else the mean of rows.

Prompts race by rows right or wrong. Of a finalist the split's score is known, and what each row adds to it (influence
values by the jackknife, Efron 1982): their mean is the score, so that two finalists are compared row by row as ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from optimizer.search.candidate import Candidate
from optimizer.search.study import Trial
from promptstill.errors import UserError
from promptstill.scoring.calibration import NONE
from promptstill.task.examples import Example
from promptstill.task.metrics.whole import Labels, SplitMetric
from promptstill.task.recipe import Metric


def answer_labels(metric: SplitMetric, rows: Sequence[Example], trial: Trial) -> list[Labels]:
    """The labels of a trial's answers to `rows`, in the order of its scores."""
    golds = [metric.labels(row.whole or row, None).gold for row in rows]
    return [Labels(metric.statistic, golds[row], trial.labels[row]) for row in trial.scores]


def by_split(metric: Metric, rows: Sequence[Example], trial: Trial) -> Trial:
    """The trial with the value by which finalists are compared. rows: those that its scores are numbered by.

    As it is for a metric of rows, and where its rows have one label only, of which the split's score says nothing.
    """
    if not isinstance(metric, SplitMetric) or trial.labels.keys() != trial.scores.keys():
        return trial
    labels = answer_labels(metric, rows, trial)
    if len({one.gold for one in labels}) < 2:
        return trial
    from promptstill.scoring.split_stats import CountTable

    table = CountTable.of(labels, [f"{row:06d}" for row in range(len(labels))])
    counts = table.counts(labels)
    value, without = float(table.score(counts.sum(axis=0))), table.score(counts.sum(axis=0) - counts)
    parts = value + (len(labels) - 1) * (without.mean() - without)
    return replace(trial, value=value, influence=dict(zip(trial.scores, map(float, parts), strict=True)))


def best_of_each(trials: Sequence[Trial]) -> list[Trial]:
    """Of trials of one prompt under several biases the best, by dev; of equals the one without a bias. Together they
    would keep other prompts from a play-off."""
    best: dict[Candidate, Trial] = {}
    for trial in sorted(trials, key=lambda one: (-one.value, one.candidate.calibration != NONE)):
        best.setdefault(trial.candidate.uncalibrated, trial)
    return [trial for trial in trials if trial in best.values()]


def short_enough(trials: Sequence[Trial], most: float) -> list[Trial]:
    """The trials whose prompts have at most so many tokens in the mean. Raises `UserError` where all have more."""
    short = [trial for trial in trials if trial.prompt_tokens <= most]
    if trials and not short:
        least = min(trial.prompt_tokens for trial in trials)
        raise UserError(
            f"No candidate's prompts have at most {most:,.0f} tokens in the mean.",
            f"The shortest have {least:,.0f}.",
            "Search again with a higher --max-prompt-tokens.",
        )
    return short


def most_rows(trials: Sequence[Trial]) -> list[Trial]:
    """Where a limit left no trial complete: those that were scored on the most rows."""
    most = max((len(trial.scores) for trial in trials), default=0)
    return [trial for trial in trials if len(trial.scores) == most]
