"""What a measurement came to: each prompt on each model, against the first of them, and as JSON.

A prompt that a search found on one model and that is measured on another has a port: the difference to its own scores
on the first, measured here too or else those that its search's run folder holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from optimizer.measure.subject import Origin
from optimizer.run.folder import RunFolder
from promptstill.endpoint.allowance import Allowance, Limit
from promptstill.endpoint.store import Total
from promptstill.prompt.artifact import SCHEMA_VERSION
from promptstill.provenance import now
from promptstill.scoring.compare import Marks, difference
from promptstill.scoring.rivals.report import RivalReport, RivalResult, compare_rivals
from promptstill.scoring.test_report import TestReport
from promptstill.stats import Gain

SEED = 0  # of the permutations behind each p
SAME = 1e-6  # scores that differ by less are equal; test.jsonl has six digits


@dataclass(frozen=True)
class Cell:
    """A prompt on a model. model: as the user named it. id: of the prompt as that model is asked it. name: the model's,
    as requests have it. origin: where a search found the prompt, if one did."""

    prompt: str
    model: str
    id: str
    report: TestReport
    name: str
    origin: Origin | None = None

    @property
    def is_port(self) -> bool:
        """Whether a search found the prompt on another model."""
        return self.origin is not None and self.origin.model != self.name

    @property
    def scores(self) -> list[float]:
        """In the order of the rows."""
        return [result.score for result in self.report.results]

    @property
    def marks(self) -> Marks:
        return self.report.marks


@dataclass(frozen=True)
class Difference:
    """A cell against other scores of the same rows. gained, lost: ids of the rows that score higher, and lower."""

    gain: Gain
    gained: tuple[str, ...]
    lost: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self.gain), "gained": list(self.gained), "lost": list(self.lost)}


@dataclass(frozen=True)
class Measurement:
    """All cells, in the order in which they were measured: prompt by prompt on each model.

    winners: number of prompts evaluated on these test rows so far, these included. stopped: the limit that ended it
    before all were measured. rivals: what needs no language model on the same rows; empty where they were left out.
    """

    folder: RunFolder
    cells: Sequence[Cell]
    winners: int
    allowance: Allowance
    stopped: Limit | None = None
    rivals: Mapping[str, RivalResult] = field(default_factory=dict)

    @cached_property
    def differences(self) -> list[Difference | None]:
        """Each cell's difference to the first; None for the first itself."""
        return [None, *(compare(cell, self.cells[0].marks) for cell in self.cells[1:])] if self.cells else []

    @cached_property
    def over_rivals(self) -> list[dict[str, RivalReport]]:
        """The rivals beside each cell, with its gain over them."""
        return [compare_rivals(cell.marks, self.rivals, SEED) for cell in self.cells]

    @property
    def highest(self) -> int:
        """The place of the cell that scores highest."""
        return max(range(len(self.cells)), key=lambda place: self.cells[place].report.score.mean)

    @cached_property
    def ports(self) -> list[Difference | None]:
        """Each port's difference to the same prompt on the model on which it was found; None where that is unknown."""
        return [self._port(cell) for cell in self.cells]

    def _port(self, cell: Cell) -> Difference | None:
        if cell.origin is None or not cell.is_port:
            return None
        here = (one.marks for one in self.cells if one.prompt == cell.prompt and one.name == cell.origin.model)
        stored = cell.origin.scores or {}
        ids = [result.example.id for result in cell.report.results]
        # Stored are scores by row alone: a port of a metric of a whole split is then compared by rows right.
        then = Marks([stored[row] for row in ids], cell.marks.groups) if stored else None
        others = next(here, then)
        return compare(cell, others) if others else None

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
                    "found_on": cell.origin.model if cell.origin else None,
                    "over_found": port.to_json() if port else None,
                    "over_rivals": {name: asdict(rival.gain) for name, rival in rivals.items()},
                }
                for cell, difference, port, rivals in zip(
                    self.cells, self.differences, self.ports, self.over_rivals, strict=True
                )
            ],
            "rivals": {
                name: {"score": asdict(rival.score), "settings": dict(rival.settings)}
                for name, rival in (self.over_rivals[0] if self.cells else {}).items()
            },
            "versions": record["versions"],
        }


def compare(cell: Cell, others: Marks) -> Difference:
    """A cell against what another has on its rows, in their order."""
    examples = [result.example for result in cell.report.results]
    pairs = list(zip(examples, cell.scores, others.scores, strict=True))
    return Difference(
        difference(cell.marks, others, SEED),
        tuple(example.id for example, score, other in pairs if score > other + SAME),
        tuple(example.id for example, score, other in pairs if score < other - SAME),
    )
