"""The rivals beside a prompt or a student: their scores on test, its paired gain over each, and a sentence on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from promptstill.scoring.compare import Marks, difference, estimate
from promptstill.scoring.evaluate import ScoredRow
from promptstill.stats import Estimate, Gain

LABELS = {
    "majority": "majority",
    "nearest": "nearest rows",
    "bag_of_words": "bag of words",
    "embeddings": "embeddings",
}
SUBJECTS = {  # of sentences
    "majority": "The same answer to every row",
    "nearest": "The answer of the nearest train rows",
    "bag_of_words": "A bag of words",
    "embeddings": "A classifier on embeddings",
}


@dataclass(frozen=True)
class RivalResult:
    """A rival's results on test, and the settings that dev chose."""

    results: Sequence[ScoredRow]
    settings: Mapping[str, int | float] = field(default_factory=dict)


@dataclass(frozen=True)
class RivalReport:
    """A rival on test: its score, and the paired gain over it of what it is compared with, the winner or the student.

    settings: what dev chose, by name. results: of the rows; empty where it was read from a file.
    """

    score: Estimate
    gain: Gain
    settings: Mapping[str, int | float] = field(default_factory=dict)
    results: tuple[ScoredRow, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Without the results of the rows, which test.jsonl holds."""
        return {"score": asdict(self.score), "gain": asdict(self.gain), "settings": dict(self.settings)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RivalReport:
        return cls(Estimate(**value["score"]), Gain(**value["gain"]), value["settings"])


def compare_rivals(marks: Marks, rivals: Mapping[str, RivalResult], seed: int) -> dict[str, RivalReport]:
    """The rivals' reports beside `marks` of the same rows in the same order; `seed` is of intervals and tests."""

    def report(rival: RivalResult) -> RivalReport:
        others = Marks.of(rival.results)
        return RivalReport(
            estimate(others, seed), difference(marks, others, seed), rival.settings, tuple(rival.results)
        )

    return {name: report(rival) for name, rival in rivals.items()}


def rival_note(score: float, rivals: Mapping[str, RivalReport]) -> str:
    """That the best of the rivals does as well as what has `score`, or better; empty where its gain over that is clear,
    and without rivals."""
    if not rivals:
        return ""
    name = max(rivals, key=lambda one: rivals[one].score.mean)
    best = rivals[name]
    if best.gain.clear:
        return ""
    figures = f"({100 * best.score.mean:.1f} against {100 * score:.1f})"
    needless = "language model" if name == "embeddings" else "model"
    return f"{SUBJECTS[name]} {standing(best)} here {figures}: you may need no {needless} for this."


def standing(rival: RivalReport) -> str:
    """How a rival does that is not beaten beyond doubt."""
    if rival.gain.high < 0:
        return "does better"
    return "does as well" if rival.gain.mean <= 0 else "is not clearly worse"
