"""Why an answer is not trained on: a small closed set of reasons, each with its detail, written to rejected.jsonl."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from promptstill.task.examples import Example

ReasonKind = Literal[
    "stands in the prompt as a demo",
    "refused",
    "unparsed",
    "cut at max_tokens",
    "scored too low",
    "no majority",
    "outvoted",
    "duplicate of a kept answer",
    "more than -m answers",
    "does not read back",
]


@dataclass(frozen=True)
class Reason:
    """One reason and its detail, as in "scored too low: 0.42 below 0.8"."""

    kind: ReasonKind
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}" if self.detail else self.kind


@dataclass(frozen=True)
class Rejected:
    """An answer that is not trained on. `sample` is None for a row's label, 0 for the greedy reply."""

    example: Example
    sample: int | None
    text: str
    reason: Reason


def count_reasons(rejected: Iterable[Rejected]) -> dict[ReasonKind, int]:
    """The number of answers rejected for each reason, the most frequent reason first."""
    return dict(Counter(one.reason.kind for one in rejected).most_common())


def reasons_line(rejected: Iterable[Rejected]) -> str:
    """The counts in one line; "none" where nothing was rejected."""
    return ", ".join(f"{count} {kind}" for kind, count in count_reasons(rejected).items()) or "none"
