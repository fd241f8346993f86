"""What a measurement came to: each prompt on each model, against the first of them, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from optimizer.run.folder import RunFolder
from promptstill.endpoint.allowance import Allowance, Limit
from promptstill.endpoint.store import Total
from promptstill.prompt.artifact import SCHEMA_VERSION
from promptstill.provenance import now
from promptstill.scoring.test_report import TestReport
from promptstill.stats import Gain, gain

SAME = 1e-9  # scores that differ by less are equal


@dataclass(frozen=True)
class Cell:
    """A prompt on a model. id: of the prompt as that model is asked it."""

    prompt: str
    model: str
    id: str
    report: TestReport


@dataclass(frozen=True)
class Difference:
    """A cell against the first on the same rows. gained, lost: ids of the rows that score higher, and lower."""

    gain: Gain
    gained: tuple[str, ...]
    lost: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self.gain), "gained": list(self.gained), "lost": list(self.lost)}


@dataclass(frozen=True)
class Measurement:
    """All cells, in the order in which they were measured: prompt by prompt on each model.

    winners: number of prompts evaluated on these test rows so far, these included. stopped: the limit that ended it
    before all were measured.
    """

    folder: RunFolder
    cells: Sequence[Cell]
    seed: int
    winners: int
    allowance: Allowance
    stopped: Limit | None = None

    @cached_property
    def differences(self) -> list[Difference | None]:
        """Each cell's difference to the first; None for the first itself."""
        return [None, *(compare(cell, self.cells[0], self.seed) for cell in self.cells[1:])] if self.cells else []

    def usd(self, cell: Cell) -> float:
        """What a thousand requests of a cell cost, by `--price`."""
        prompt, completion = (
            round(1000 * tokens) for tokens in (cell.report.prompt_tokens, cell.report.completion_tokens)
        )
        return self.allowance.limits.cost(Total(1000, prompt, completion))

    def to_json(self) -> dict[str, Any]:
        """measure.json."""
        record = self.folder.record
        return {
            "schema_version": SCHEMA_VERSION,
            "name": record["name"],
            "created_at": now(),
            "recipe": record["recipe"],
            "splits": record["splits"],
            "seed": self.seed,
            "winners": self.winners,
            "stopped": str(self.stopped) if self.stopped else None,
            "spent": self.allowance.record(),
            "measured": [
                {
                    "prompt": cell.prompt,
                    "model": cell.model,
                    "id": cell.id,
                    **cell.report.to_json(),
                    "usd_per_1000": self.usd(cell),
                    "over_first": difference.to_json() if difference else None,
                }
                for cell, difference in zip(self.cells, self.differences, strict=True)
            ],
            "versions": record["versions"],
        }


def compare(cell: Cell, first: Cell, seed: int) -> Difference:
    """A cell against the first, row by row."""
    pairs = list(zip(cell.report.results, first.report.results, strict=True))
    scores, others = ([result.score for result in report.results] for report in (cell.report, first.report))
    groups = [result.example.group for result in first.report.results]
    return Difference(
        gain(scores, others, seed, groups),
        tuple(one.example.id for one, other in pairs if one.score > other.score + SAME),
        tuple(one.example.id for one, other in pairs if one.score < other.score - SAME),
    )
