"""Fine-tuning or prompting: the tables of README.md and docs/fine-tuning-or-prompting.md, from the recipes' cells.

The figures of a row are those of the recipe where the student did best, and of the one where it did worst.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.results import table
from promptstill.scoring.rivals.report import LABELS

BEST, STUDENT, GOLD = "base + best prompt", "student + bare prompt", "gold-label student"
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
    def gain(self) -> float:
        """The student's score less the best prompt's."""
        return float(self.arm(STUDENT)["score"]["mean"] - self.arm(BEST)["score"]["mean"])

    @property
    def arms_record(self) -> Mapping[str, Any]:
        if self.student is None:
            raise ValueError(f"{self.name} has no student")
        return self.student

    def arm(self, name: str) -> Mapping[str, Any]:
        return dict(self.arms_record["arms"][name])

    @property
    def best_rival(self) -> str:
        """The score and name of the best rival without a model."""
        rivals = self.prompt["test"].get("rivals", {})
        best = max(rivals, key=lambda name: float(rivals[name]["score"]["mean"]), default=None)
        return f"{points(rivals[best]['score']['mean'])} ({LABELS[best]})" if best else NONE

    def score(self, name: str) -> str:
        """An arm's score; the student's with the options that made it."""
        if not self.student or name not in self.student["arms"]:
            return NONE
        options = " ".join(self.student.get("options", ())) if name == STUDENT else ""
        return points(self.arm(name)["score"]["mean"]) + (f" with `{options}`" if options else "")


def short_table(found: Sequence[Comparison]) -> str:
    """A row a recipe: scores of baseline, best rival, best prompt and students, and the verdict."""
    head = ["recipe", "your prompt", "no model", "best prompt", "student", "gold-label student", "verdict"]
    rows = [
        [
            one.label,
            points(one.prompt["test"]["baseline"]["score"]["mean"]),
            one.best_rival,
            points(one.prompt["test"]["winner"]["score"]["mean"]),
            *(one.score(arm) for arm in (STUDENT, GOLD)),
            first_sentence(one),
        ]
        for one in found
    ]
    return "\n".join(table(head, rows))


def first_sentence(one: Comparison) -> str:
    """The verdict without its figures."""
    if one.student is None:
        return "no prompt gains: nothing to distil" if one.prompt["test"]["winner"]["score"]["mean"] == 0 else NONE
    return str(one.student["sentence"]).partition(" (")[0] + "."


def comparison_table(found: Sequence[Comparison]) -> str:
    """Training, data, cost and flexibility: what each side needs, where the student won, and where it lost."""
    trained = sorted((one for one in found if one.student), key=lambda one: one.gain)
    if len(trained) < 2:
        return f"{NONE} yet"
    best, worst = trained[-1], trained[0]
    head = ["", "prompting", "fine-tuning", "measured where the student did best", "where it did worst"]
    rows = [
        ["training required", "none; a search of some minutes", "the teacher's answers, then training",
         *map(training_text, (best, worst))],
        ["data needed", "labels to choose by, a few as demos", "labels, or answers of a teacher that is often right",
         *map(data_text, (best, worst))],
        ["computational cost", "instruction and demos each time", "the bare inputs",
         *map(cost_text, (best, worst))],
        ["flexibility", "text: change it, measure again, take it to another model", "weights of one model",
         *map(change_text, (best, worst))],
    ]  # fmt: skip
    return "\n".join(table(head, rows))


def training_text(one: Comparison) -> str:
    """The minutes where they are known, and the verdict's first sentence."""
    cost = one.arms_record.get("cost")
    minutes = f" {(cost['teacher_seconds'] + cost['training_seconds']) / 60:.0f} min of training." if cost else ""
    first = str(one.arms_record["sentence"]).split(". ")[0].rstrip(".")
    return f"{one.label}:{minutes} {first}"


def data_text(one: Comparison) -> str:
    """What came of the labels, directly and by the teacher."""
    cost = one.arms_record.get("cost")
    labels = one.prompt["rows"]["train"] if cost else 0
    rows = f" {labels} train rows gave {cost['training_rows']} answers to train on." if cost else ""
    return (
        f"{one.label}:{rows} Trained on the teacher's answers {one.score(STUDENT)}, on as many labels "
        f"{one.score(GOLD)}; the best prompt {one.score(BEST)}"
    )


def cost_text(one: Comparison) -> str:
    """Tokens and requests a second where they are known, else what the verdict says of them."""
    if one.timed:
        best, student = one.arm(BEST), one.arm(STUDENT)
        return (
            f"{one.label}: {student['prompt_tokens']:.0f} prompt tokens in place of {best['prompt_tokens']:.0f}; "
            f"{student['speed']['requests_per_s']:.1f} requests/s by the adapter, "
            f"{best['speed']['requests_per_s']:.1f} by the prompt"
        )
    said = [part for part in str(one.arms_record["sentence"]).split(". ") if part.startswith("It needs")]
    tokens = f"the prompt takes {one.prompt['test']['winner']['prompt_tokens']:.0f} tokens a request"
    return f"{one.label}: {(said or [tokens])[0].rstrip('.').replace('It needs', 'the student needs')}"


def change_text(one: Comparison) -> str:
    """What a change costs, and what training did to the rest of the model where that is known."""
    rows = one.prompt["test"]["winner"]["score"]["n"]
    cost = one.arms_record.get("cost")
    probe = (
        "; on an off-task probe {} before training, {} after".format(*map(points, cost["retention"])) if cost else ""
    )
    return f"{one.label}: a changed prompt is measured with {rows} calls, a changed student is trained again{probe}"


def points(value: float) -> str:
    return f"{100 * value:.1f}"
