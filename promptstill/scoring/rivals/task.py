"""What a rival learns from, and what one is that has learned."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from promptstill.prompt.fields import Field, as_text
from promptstill.scoring.rivals.kinds import Kind, output_kind
from promptstill.task.examples import Example
from promptstill.task.metrics import apply_metric
from promptstill.task.metrics.apply import overall_score
from promptstill.task.recipe import Metric

Answer = Mapping[str, Any]
Setting = TypeVar("Setting", int, float)


@dataclass(frozen=True)
class FittedRival:
    """A rival that has learned. answer: the outputs for rows, in their order. settings: what dev chose, by name."""

    answer: Callable[[Sequence[Example]], list[Answer]]
    settings: Mapping[str, int | float]


@dataclass(frozen=True)
class RivalTask:
    """Labelled rows to learn from (train) and to choose by (dev), and what is asked for.

    vectors: the embedding of each row's text (see `row_text`), test included; None where nobody asked for them.
    """

    train: Sequence[Example]
    dev: Sequence[Example]
    inputs: Sequence[Field]
    outputs: Sequence[Field]
    metric: Metric
    vectors: Mapping[str, Sequence[float]] | None = None

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the inputs."""
        return tuple(field.name for field in self.inputs)

    @cached_property
    def kinds(self) -> dict[str, Kind]:
        """The kind of each output, by the gold values of train and dev."""
        rows = {row.id: row.outputs for row in (*self.train, *self.dev)}.values()
        return {field.name: output_kind(field, [row[field.name] for row in rows]) for field in self.outputs}

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The names of the outputs that are labels."""
        return tuple(name for name, kind in self.kinds.items() if kind == "label")

    @cached_property
    def same_rows(self) -> bool:
        """Whether dev is train: then settings are chosen by leaving each row's group out of what is learned."""
        return {row.id for row in self.dev} == {row.id for row in self.train}

    def row_text(self, row: Example) -> str:
        """A row's inputs as one text."""
        return "\n".join(as_text(row.inputs[name]) for name in self.names)

    def choose(self, settings: Iterable[Setting], dev_answers: Callable[[Setting], Sequence[Answer]]) -> Setting:
        """The setting whose answers score highest on dev; of equal ones the first."""
        return max(settings, key=lambda one: self._score(dev_answers(one)))

    def _score(self, answers: Sequence[Answer]) -> float:
        pairs = zip(self.dev, answers, strict=True)
        return overall_score([apply_metric(self.metric, row, answer) for row, answer in pairs])
