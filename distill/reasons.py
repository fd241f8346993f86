"""Why an answer is not learned from: a small closed set of reasons, each with its detail, kept for the audit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from optimizer.examples import Example

Kind = Literal[
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
    """One reason, and what it was here: "scored too low: 0.42 below 0.8"."""

    kind: Kind
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}" if self.detail else self.kind


@dataclass(frozen=True)
class Rejected:
    """An answer that is not learned from. `sample` is None for a row's label, 0 for the greedy reply."""

    example: Example
    sample: int | None
    text: str
    reason: Reason


def counted(rejected: Iterable[Rejected]) -> dict[Kind, int]:
    """How many answers fell to each reason, the commonest first."""
    return dict(Counter(one.reason.kind for one in rejected).most_common())


def listed(rejected: Iterable[Rejected]) -> str:
    """The counts in one line; "none" where nothing was rejected."""
    return ", ".join(f"{count} {kind}" for kind, count in counted(rejected).items()) or "none"
