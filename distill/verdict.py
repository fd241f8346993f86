"""The verdict: prompt engineering or fine-tuning, on this task's own measurements, and the sentence that says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from distill.arms import Arm
from optimizer.measure import best_of
from optimizer.stats import Gain, gain

MARGIN = 0.02  # of score: a student whose interval stays above this loss does the task as well


@dataclass(frozen=True)
class Cost:
    """What the student took: the teacher's calls and the machine's seconds, and what it forgot.

    offtask: accuracy of the fixed off-task probe before and after.
    """

    rows: int
    teacher_calls: int
    teacher_seconds: float
    training_seconds: float
    device: str
    offtask: tuple[float, float]

    @property
    def seconds(self) -> float:
        return self.teacher_seconds + self.training_seconds


@dataclass(frozen=True)
class Verdict:
    """The arms on the same test rows, and the student's paired gains. `gold` is None where it was left out.

    `students` is how many students the same test rows have measured so far, this one included.
    """

    bare: Arm
    best: Arm
    student: Arm
    gold: Arm | None
    over_best: Gain
    over_gold: Gain | None
    cost: Cost
    students: int

    @property
    def arms(self) -> dict[str, Arm]:
        """The arms by what a reader calls them."""
        named = {
            "base + bare prompt": self.bare,
            "base + best prompt": self.best,
            "student + bare prompt": self.student,
        }
        return named | ({"gold-label student": self.gold} if self.gold else {})

    @property
    def tokens_saved(self) -> float:
        """The share of the best prompt's tokens that the student does without."""
        return 1 - self.student.prompt_tokens / max(self.best.prompt_tokens, 1)

    @property
    def break_even(self) -> float | None:
        """Requests after which the machine time spent has been saved, at 32 in flight; None where none is saved."""
        saved_s = 1 / self.best.load.requests_per_s - 1 / self.student.load.requests_per_s
        return self.cost.seconds / saved_s if saved_s > 0 else None

    @property
    def distil(self) -> bool:
        """Whether the student is worth it: better, or as good within the margin and cheaper."""
        as_good = self.over_best.low > -MARGIN and self.break_even is not None
        return self.over_best.low > 0 or as_good

    def to_json(self) -> dict[str, Any]:
        arms = {name: arm.to_json() for name, arm in self.arms.items()}
        for arm in arms.values():
            del arm["replies"]  # test.jsonl has them, beside their rows
        gains = {"over_best": asdict(self.over_best), "over_gold": asdict(self.over_gold) if self.over_gold else None}
        told = {"distil": self.distil, "sentence": sentence(self), "break_even_requests": self.break_even}
        return {
            **told,
            "gains": gains,
            "prompt_tokens_saved": self.tokens_saved,
            "cost": asdict(self.cost),
            "students": self.students,
            "arms": arms,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Verdict:
        """The verdict in a verdict.json."""
        bare, best, student, *gold = (Arm.from_json(arm) for arm in value["arms"].values())
        gains = {name: Gain(**gain) for name, gain in value["gains"].items() if gain}
        cost = Cost(**{**value["cost"], "offtask": tuple(value["cost"]["offtask"])})
        over_best, over_gold = gains["over_best"], gains.get("over_gold")
        return cls(bare, best, student, gold[0] if gold else None, over_best, over_gold, cost, value["students"])


def judge(bare: Arm, best: Arm, student: Arm, gold: Arm | None, cost: Cost, students: int, seed: int) -> Verdict:
    """The paired comparison of arms that answered the same rows."""
    over_gold = paired(student, gold, seed) if gold else None
    return Verdict(bare, best, student, gold, paired(student, best, seed), over_gold, cost, students)


def paired(arm: Arm, other: Arm, seed: int) -> Gain:
    """The paired gain of an arm over another."""
    return gain(arm.scores, other.scores, seed, arm.groups)


def sentence(verdict: Verdict) -> str:
    """Distil or do not, and why."""
    over = verdict.over_best
    measured = f"{100 * over.mean:+.1f} points, 95 % interval {100 * over.low:+.1f} to {100 * over.high:+.1f}"
    if over.low > 0:
        said = f"Distil: the student beats the best prompt ({measured})."
    elif verdict.distil:
        said = f"Distil: the student does as well as the best prompt ({measured}) and answers faster."
    elif over.high < 0:
        said = f"Do not distil: the student is worse than the best prompt ({measured})."
    elif over.low > -MARGIN:
        said = f"Do not distil: the student does as well as the best prompt ({measured}) but saves no time."
    else:
        said = f"Do not distil: it is not beyond doubt that the student keeps the best prompt's score ({measured})."
    return " ".join([said, *saving(verdict), *labels(verdict), *looks(verdict)])


def saving(verdict: Verdict) -> list[str]:
    """What a distilled request spares."""
    if not verdict.distil:
        return []
    tokens = f"It needs {verdict.tokens_saved:.0%} fewer prompt tokens"
    if verdict.break_even is None:
        sooner = verdict.student.load.latency_s < verdict.best.load.latency_s
        busy = (
            "and answers a lone request sooner, but under load fewer a second"
            if sooner
            else "but saves no machine time"
        )
        return [f"{tokens}, {busy}."]
    return [f"{tokens}; after {verdict.break_even:,.0f} requests the machine time spent has been saved."]


def labels(verdict: Verdict) -> list[str]:
    """How the teacher compares with the labels themselves."""
    over = verdict.over_gold
    if over is None:
        return []
    if over.high < 0:
        return ["Training on the labels themselves does better: the teacher is not needed where rows have labels."]
    if over.low > 0:
        return ["The teacher's answers teach better than the labels."]
    return ["Training on as many labels does as well, within noise."]


def looks(verdict: Verdict) -> list[str]:
    """What the gain is worth where other students were measured on the same test rows."""
    if verdict.students == 1:
        return []
    return [best_of(verdict.over_best.p, verdict.students, "students", "best prompt")]
