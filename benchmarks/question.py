"""Fine-tuning or prompting: the tables of README.md and docs/fine-tuning-or-prompting.md, from the recipes' cells.

The figures of a row are those of the recipe where the student did best, and of the one where it did worst.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.results import table

BARE, BEST, STUDENT, GOLD = "base + bare prompt", "base + best prompt", "student + bare prompt", "gold-label student"
NONE = "not measured"


@dataclass(frozen=True)
class Comparison:
    """What `optimize` and `distill` measured on one recipe; `student` is None where no student was trained.

    Cells from before searches and trainings were timed hold no `search` and no `cost`.
    """

    name: str
    prompt: Mapping[str, Any]
    student: Mapping[str, Any] | None

    @property
    def label(self) -> str:
        return f"`{self.name}.py`"

    @property
    def timed(self) -> bool:
        """Whether there is a student, and its cost is known."""
        return self.student is not None and "cost" in self.student

    @property
    def gain(self) -> Mapping[str, float]:
        """The student's paired gain over the best prompt."""
        return dict(self.arms_record["gains"]["over_best"])

    @property
    def arms_record(self) -> Mapping[str, Any]:
        if self.student is None:
            raise ValueError(f"{self.name} has no student")
        return self.student

    def arm(self, name: str) -> Mapping[str, Any]:
        return dict(self.arms_record["arms"][name])

    def score(self, name: str) -> str:
        return points(self.arm(name)["score"]["mean"]) if self.student and name in self.student["arms"] else NONE


def short_table(found: Sequence[Comparison]) -> str:
    """A row a recipe: scores of baseline, best prompt and students, minutes of search and distillation, the verdict."""
    head = ["recipe", "your prompt", "best prompt", "student", "gold-label student", "minutes", "verdict"]
    rows = [
        [
            one.label,
            *(points(one.prompt["test"][arm]["score"]["mean"]) for arm in ("baseline", "winner")),
            *(one.score(arm) for arm in (STUDENT, GOLD)),
            minutes_text(one),
            first_sentence(one),
        ]
        for one in found
    ]
    return "\n".join(table(head, rows))


def minutes_text(one: Comparison) -> str:
    """The minutes of the search, and those of the teacher and the training."""
    search = one.prompt.get("search")
    parts = [f"{search['seconds'] / 60:.0f}"] if search else []
    parts += [f"{training_minutes(one):.0f}"] if one.timed else []
    return " + ".join(parts) or NONE


def training_minutes(one: Comparison) -> float:
    cost = one.arms_record["cost"]
    return float(cost["teacher_seconds"] + cost["training_seconds"]) / 60


def first_sentence(one: Comparison) -> str:
    """The verdict without its figures."""
    if one.student is None:
        return "no prompt gains: nothing to distil" if one.prompt["test"]["winner"]["score"]["mean"] == 0 else NONE
    return str(one.student["sentence"]).partition(" (")[0] + "."


def comparison_table(found: Sequence[Comparison]) -> str:
    """Training, data, cost and flexibility: what each side needs, where the student won, and where it lost."""
    trained = sorted((one for one in found if one.timed), key=lambda one: one.gain["mean"])
    if len(trained) < 2:
        return f"{NONE} yet"
    best, worst = trained[-1], trained[0]
    head = ["", "prompting", "fine-tuning", "measured where the student did best", "where it did worst"]
    rows = [
        ["training", "none; a search of some minutes", "the teacher's answers, then training",
         *map(training_text, (best, worst))],
        ["data", "labels to choose by, a few as demos", "labels, or answers of a teacher that is often right",
         *map(data_text, (best, worst))],
        ["cost of a request", "instruction and demos each time", "the bare inputs",
         *map(cost_text, (best, worst))],
        ["flexibility", "text: change it, measure again, take it to another model", "weights of one model",
         *map(change_text, (best, worst))],
    ]  # fmt: skip
    return "\n".join(table(head, rows))


def training_text(one: Comparison) -> str:
    search = one.prompt["search"]["seconds"] / 60
    return (
        f"{one.label}: {training_minutes(one):.0f} min after {search:.0f} min of search; the student has "
        f"{interval_text(one.gain)} points over the best prompt"
    )


def data_text(one: Comparison) -> str:
    labels, answers = one.prompt["rows"]["train"], one.arms_record["cost"]["training_rows"]
    return (
        f"{one.label}: {labels} labelled train rows gave {answers} right answers of the teacher; trained on these "
        f"{one.score(STUDENT)}, on as many labels {one.score(GOLD)}, the best prompt {one.score(BEST)}"
    )


def cost_text(one: Comparison) -> str:
    best, student = one.arm(BEST), one.arm(STUDENT)
    return (
        f"{one.label}: {student['prompt_tokens']:.0f} tokens in place of {best['prompt_tokens']:.0f}; "
        f"{student['speed']['requests_per_s']:.1f} requests/s by the adapter, "
        f"{best['speed']['requests_per_s']:.1f} by the prompt"
    )


def change_text(one: Comparison) -> str:
    before, after = one.arms_record["cost"]["retention"]
    rows, winner = one.prompt["rows"]["test"], one.prompt["test"]["winner"]
    return (
        f"{one.label}: a changed prompt is scored on {rows} rows in {winner['seconds']:.0f} s; a changed student is "
        f"trained again; on an off-task probe the model has {points(before)} before training, {points(after)} after"
    )


def interval_text(gain: Mapping[str, float]) -> str:
    return f"{100 * gain['mean']:+.1f} ({100 * gain['low']:+.1f} to {100 * gain['high']:+.1f})"


def points(value: float) -> str:
    return f"{100 * value:.1f}"
