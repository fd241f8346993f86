"""What the classifiers share: a logistic regression for each label, its strength of regularization chosen on dev."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from promptstill.files import canonical_json
from promptstill.scoring.rivals import nearest
from promptstill.scoring.rivals.task import Answer, FittedRival, RivalTask
from promptstill.task.examples import Example

CS = (0.1, 1.0, 10.0, 100.0)  # scikit-learn's C: the larger, the less regularized
USUAL_C = 1.0  # where nothing can be held out to choose by
FOLDS = 5
SOLVER = "newton-cg"  # of many more columns than rows the fastest: it takes few steps, whatever else the CPU does
MAX_ITER = 1_000


@dataclass(frozen=True)
class LabelRival:
    """A classifier for each output that is a label; the other outputs are those of `nearest`.

    features: what a model takes of rows, texts or vectors. steps: makes what stands before the regression in its
    scikit-learn pipeline.
    """

    task: RivalTask
    features: Callable[[Sequence[Example]], Any]
    steps: Callable[[], list[Any]]

    def fit(self) -> FittedRival | None:
        """The rival with the C that scores highest on dev; None where no output is a label."""
        if not self.task.labels:
            return None
        c = self.task.choose(CS, self._dev_answers) if self._parts else USUAL_C
        label = self._learn(c, self.task.train)
        others = self._others.settings if self._others else {}
        return FittedRival(lambda rows: self._with_others(rows, label(rows)), {"C": c, **others})

    @cached_property
    def _others(self) -> FittedRival | None:
        """What answers the outputs that are no labels; None where all are."""
        return nearest.fit(self.task) if len(self.task.labels) < len(self.task.kinds) else None

    def _with_others(self, rows: Sequence[Example], labels: Sequence[Answer]) -> list[Answer]:
        others = self._others.answer(rows) if self._others else [{} for _ in rows]
        return [{**other, **label} for other, label in zip(others, labels, strict=True)]

    @cached_property
    def _parts(self) -> list[tuple[Sequence[Example], Sequence[int]]]:
        """What is learned from, and the places of the dev rows that are answered then: train and all of dev, or, where
        dev is train, folds of whole groups. Empty where there is but one group."""
        task = self.task
        if not task.same_rows:
            return [(task.train, range(len(task.dev)))]
        groups = [row.group for row in task.dev]
        return list(self._folds(groups)) if len(set(groups)) > 1 else []

    def _folds(self, groups: Sequence[str]) -> Iterator[tuple[Sequence[Example], Sequence[int]]]:
        from sklearn.model_selection import GroupKFold

        rows = self.task.dev
        for kept, held in GroupKFold(min(FOLDS, len(set(groups)))).split(rows, groups=groups):
            yield [rows[place] for place in kept], [int(place) for place in held]

    def _dev_answers(self, c: float) -> list[Answer]:
        """The answers to dev, in its order."""
        found: dict[int, Answer] = {}
        for train, places in self._parts:
            found |= zip(places, self._learn(c, train)([self.task.dev[place] for place in places]), strict=True)
        return self._with_others(self.task.dev, [found[place] for place in range(len(found))])

    def _learn(self, c: float, train: Sequence[Example]) -> Callable[[Sequence[Example]], list[Answer]]:
        """What gives the labels of rows, once it has learned from `train`."""
        given = self.features(train)
        models = {name: self._model(c, given, [row.outputs[name] for row in train]) for name in self.task.labels}

        def label(rows: Sequence[Example]) -> list[Answer]:
            asked = self.features(rows)
            columns = {name: predict(asked) for name, predict in models.items()}
            return [{name: column[place] for name, column in columns.items()} for place in range(len(rows))]

        return label

    def _model(self, c: float, given: Any, values: Sequence[Any]) -> Callable[[Any], list[Any]]:
        """What gives one label of rows. Where there is but one value there is nothing to tell apart."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        by_key = {canonical_json(value): value for value in values}
        if len(by_key) == 1:
            return lambda asked: [values[0] for _ in asked]
        model = make_pipeline(*self.steps(), LogisticRegression(C=c, solver=SOLVER, max_iter=MAX_ITER))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a fit that stops early still predicts; dev judges it
            model.fit(given, [canonical_json(value) for value in values])
        return lambda asked: [by_key[key] for key in model.predict(asked)]
