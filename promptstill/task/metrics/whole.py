"""Metrics of a whole split: macro F1, balanced accuracy and Matthews' correlation of a field of labels.

Of one row such a metric says right or wrong, 1.0 or 0.0; by that prompts race. The score of a split is scikit-learn's,
over all rows. An answer that is none of the split's labels, or none at all, is a wrong answer of no class. Labels are
compared without case and white space at the ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from promptstill.errors import UserError
from promptstill.prompt.fields import as_text
from promptstill.task.examples import Example

Statistic = Literal["macro_f1", "balanced_accuracy", "matthews"]
NO_CLASS = ""  # what no label equals


@dataclass(frozen=True)
class Labels:
    """A row's gold label and that of an answer, None where there is none; statistic: which score of a split they are
    for."""

    statistic: Statistic
    gold: str
    answer: str | None


@dataclass(frozen=True)
class SplitMetric:
    """A metric of a whole split; called with one row it says 1.0 or 0.0."""

    statistic: Statistic
    field: str
    accepted: None = None

    @property
    def __name__(self) -> str:  # as a function has it
        return f"{self.statistic}({self.field})"

    def __call__(self, example: Any, prediction: Any, trace: object = None) -> float:
        return float(to_label(example[self.field]) == to_label(prediction[self.field]))

    def labels(self, example: Example, outputs: Any) -> Labels:
        """The labels of a row; outputs: None where the reply could not be used."""
        gold = {**example.row, **example.outputs}[self.field]
        return Labels(self.statistic, to_label(gold), None if outputs is None else to_label(outputs[self.field]))


def macro_f1(field: str) -> SplitMetric:
    """The mean over the labels of their F1, each label alike (`sklearn.metrics.f1_score`); from 0 to 1."""
    return SplitMetric("macro_f1", field)


def balanced_accuracy(field: str) -> SplitMetric:
    """The mean over the labels of the share of their rows that are right (`sklearn.metrics.balanced_accuracy_score`);
    from 0 to 1."""
    return SplitMetric("balanced_accuracy", field)


def matthews(field: str) -> SplitMetric:
    """Matthews' correlation of answers and labels (`sklearn.metrics.matthews_corrcoef`); from -1 to 1, 0 for chance."""
    return SplitMetric("matthews", field)


def to_label(value: Any) -> str:
    """A value as a label."""
    return as_text(value).strip().casefold()


def split_score(labels: Sequence[Labels]) -> float:
    """The score of a split, by scikit-learn."""
    from sklearn.metrics import f1_score, matthews_corrcoef, recall_score

    gold = [one.gold for one in labels]
    known = sorted(set(gold))
    answers = [NO_CLASS if one.answer not in known else one.answer for one in labels]
    if labels[0].statistic == "matthews":
        return float(matthews_corrcoef(gold, answers)) if len(known) > 1 else 0.0
    score = f1_score if labels[0].statistic == "macro_f1" else recall_score  # the macro recall is balanced accuracy
    return float(score(gold, answers, labels=known, average="macro", zero_division=0))


def split_warnings(metric: object, splits: dict[str, Sequence[Example]]) -> list[str]:
    """What a metric of a whole split cannot see in these splits, a line each. Raises `UserError` for a dev or test
    split of one label, of which it says nothing."""
    if not isinstance(metric, SplitMetric):
        return []
    name, field = metric.__name__, metric.field
    found = {split: {metric.labels(row, None).gold for row in rows} for split, rows in splits.items()}
    for split in ("dev", "test"):
        if len(found[split]) == 1:
            raise UserError(
                f"All {split} rows have the same {field}: {next(iter(found[split]))!r}.",
                f"{name} is a metric of a whole split, and of one label it says nothing.",
                f"Put rows of other labels into {split}, or take another metric: exact_match({field!r})",
            )
    lines = [
        f"{name} is a metric of a whole split: prompts race by rows right or wrong; it scores the finalists, and test"
    ]
    every = set().union(*found.values())
    for split in ("dev", "test"):
        if missing := sorted(every - found[split]):
            lines.append(
                f"no {split} row has the {field} {', '.join(map(repr, missing))}: {name} on {split} says nothing of it"
            )
    return lines
