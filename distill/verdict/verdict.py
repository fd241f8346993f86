"""The verdict: the prompt or the student, by what was measured on this task, and the sentence that says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from distill.verdict.arms import Arm
from promptstill.scoring.compare import difference
from promptstill.scoring.rivals.report import RivalReport, rival_note
from promptstill.scoring.test_report import bonferroni_note, group_note
from promptstill.stats import Gain
from promptstill.text import plural

MARGIN = 0.02  # of score: a student does as well if the interval of its loss stays within this


@dataclass(frozen=True)
class TrainingCost:
    """What the student took: training rows, the teacher's calls, seconds on this machine, and what it forgot.

    Of a cross-validated run calls and seconds are of the compared student and of the shipped one together.
    retention: accuracy on the off-task probe (retention.py) before and after.
    """

    training_rows: int
    teacher_calls: int
    teacher_seconds: float
    training_seconds: float
    device: str
    retention: tuple[float, float]

    @property
    def seconds(self) -> float:
        return self.teacher_seconds + self.training_seconds


@dataclass(frozen=True)
class FinalTraining:
    """How the shipped student of a cross-validated run was trained. It is not evaluated: each row had a part in it.

    labelled_rows: all that there are. training_rows: the teacher's answers to these and to unlabelled ones.
    """

    labelled_rows: int
    training_rows: int
    epochs: int
    seconds: float


@dataclass(frozen=True)
class DistillVerdict:
    """The arms on the same test rows, and the student's paired gains. `gold` is None where it was left out.

    students: number of students evaluated on these test rows so far, this one included.
    rivals: what needs no language model, on the same rows, each with the student's gain over it; empty where left out.
    final: of a cross-validated run the student that is shipped; the arms then answered the first fold, and `student`
        was trained without it. None where the student itself is shipped.
    """

    bare: Arm
    best: Arm
    student: Arm
    gold: Arm | None
    over_best: Gain
    over_gold: Gain | None
    cost: TrainingCost
    students: int
    rivals: Mapping[str, RivalReport] = field(default_factory=dict)
    final: FinalTraining | None = None

    @property
    def arms(self) -> dict[str, Arm]:
        """The arms by the names that a reader sees."""
        named = {
            "base + bare prompt": self.bare,
            "base + best prompt": self.best,
            "student + bare prompt": self.student,
        }
        return named | ({"gold-label student": self.gold} if self.gold else {})

    @property
    def tokens_saved(self) -> float:
        """The share of the best prompt's tokens that the student does not need."""
        return 1 - self.student.prompt_tokens / max(self.best.prompt_tokens, 1)

    @property
    def break_even(self) -> float | None:
        """Requests after which the machine time spent has been saved, at 32 in flight; None where none is saved."""
        saved_s = 1 / self.best.speed.requests_per_s - 1 / self.student.speed.requests_per_s
        return self.cost.seconds / saved_s if saved_s > 0 else None

    @property
    def distil(self) -> bool:
        """Whether the student is worth it: better, or as good within the margin and faster."""
        return self.better or (self.as_good and self.break_even is not None)

    @property
    def better(self) -> bool:
        """Whether its gain over the best prompt holds after so many students on these rows."""
        return self.over_best.holds(self.students)

    @property
    def as_good(self) -> bool:
        """Whether its loss stays within the margin, on rows that can tell."""
        return self.over_best.low > -MARGIN and self.over_best.enough_groups

    def to_json(self) -> dict[str, Any]:
        arms = {name: arm.to_json() for name, arm in self.arms.items()}
        for arm in arms.values():
            del arm["replies"], arm["labels"]  # test.jsonl has them, beside their rows
        gains = {"over_best": asdict(self.over_best), "over_gold": asdict(self.over_gold) if self.over_gold else None}
        return {
            "distil": self.distil,
            "sentence": verdict_sentence(self),
            "break_even_requests": self.break_even,
            "gains": gains,
            "prompt_tokens_saved": self.tokens_saved,
            "cost": asdict(self.cost),
            "students": self.students,
            "arms": arms,
            "rivals": {name: rival.to_json() for name, rival in self.rivals.items()},
            "final": asdict(self.final) if self.final else None,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DistillVerdict:
        """The verdict in a verdict.json."""
        bare, best, student, *gold = (Arm.from_json(arm) for arm in value["arms"].values())
        gains = {name: Gain(**gain) for name, gain in value["gains"].items() if gain}
        cost = TrainingCost(**{**value["cost"], "retention": tuple(value["cost"]["retention"])})
        over_best, over_gold = gains["over_best"], gains.get("over_gold")
        rivals = {name: RivalReport.from_json(rival) for name, rival in value.get("rivals", {}).items()}
        gold_arm = gold[0] if gold else None
        final = FinalTraining(**value["final"]) if value.get("final") else None
        return cls(bare, best, student, gold_arm, over_best, over_gold, cost, value["students"], rivals, final)


def compare_arms(
    bare: Arm, best: Arm, student: Arm, gold: Arm | None, cost: TrainingCost, students: int, seed: int
) -> DistillVerdict:
    """The paired comparison of arms that answered the same rows."""
    over_gold = paired_gain(student, gold, seed) if gold else None
    return DistillVerdict(bare, best, student, gold, paired_gain(student, best, seed), over_gold, cost, students)


def paired_gain(arm: Arm, other: Arm, seed: int) -> Gain:
    """The paired gain of an arm over another."""
    return difference(arm.marks, other.marks, seed)


def verdict_sentence(verdict: DistillVerdict) -> str:
    """Whether to distil, and why."""
    over = verdict.over_best
    points = f"{100 * over.mean:+.1f} points, 95 % interval {100 * over.low:+.1f} to {100 * over.high:+.1f}"
    if verdict.better:
        first = f"Distil: the student beats the best prompt ({points})."
    elif verdict.distil:
        first = f"Distil: the student does as well as the best prompt ({points}) and answers faster."
    elif not over.enough_groups:
        first = f"Do not distil: nothing can be claimed ({points}). {group_note(over.n, over.worth)}"
    elif over.high < 0:
        first = f"Do not distil: the student is worse than the best prompt ({points})."
    elif verdict.as_good:
        first = f"Do not distil: the student does as well as the best prompt ({points}) but saves no time."
    else:
        first = f"Do not distil: it is not beyond doubt that the student keeps the best prompt's score ({points})."
    before = rival_sentences(verdict)
    after = [*label_sentences(verdict), *reuse_sentences(verdict), *final_sentences(verdict)]
    return " ".join([*before, first, *saving_sentences(verdict), *after])


def rival_sentences(verdict: DistillVerdict) -> list[str]:
    """That a rival does as well as the student, or better."""
    note = rival_note(verdict.student.score.mean, verdict.rivals)
    return [note] if note else []


def saving_sentences(verdict: DistillVerdict) -> list[str]:
    """What a request to the student saves."""
    if not verdict.distil:
        return []
    tokens = f"It needs {verdict.tokens_saved:.0%} fewer prompt tokens"
    if verdict.break_even is None:
        sooner = verdict.student.speed.latency_s < verdict.best.speed.latency_s
        time = (
            "and answers a single request sooner, but under load fewer requests per second"
            if sooner
            else "but saves no machine time"
        )
        return [f"{tokens}, {time}."]
    return [f"{tokens}; after {verdict.break_even:,.0f} requests the machine time spent has been saved."]


def label_sentences(verdict: DistillVerdict) -> list[str]:
    """Whether the teacher's answers train better than the labels."""
    over = verdict.over_gold
    if over is None or not over.enough_groups:
        return []
    if over.differs(verdict.students) and over.high < 0:
        return ["Training on the labels themselves does better: the teacher is not needed where rows have labels."]
    if over.holds(verdict.students):
        return ["Training on the teacher's answers does better than training on the labels."]
    return ["Training on as many labels does as well, within noise."]


def reuse_sentences(verdict: DistillVerdict) -> list[str]:
    """What the gain is worth where other students were evaluated on the same test rows."""
    if verdict.students == 1:
        return []
    return [bonferroni_note(verdict.over_best.p, verdict.students, "students", "the best prompt")]


def final_sentences(verdict: DistillVerdict) -> list[str]:
    """Whose figures these are, where another student is shipped."""
    if verdict.final is None:
        return []
    return [
        f"These figures are of a student that was trained without the first fold, on that fold's "
        f"{plural(verdict.best.score.n, 'row')}; the best prompt was searched without it too.",
        f"The student that is shipped was trained in the same way on all {verdict.final.labelled_rows:,} labelled "
        "rows; none is left to evaluate it on.",
    ]
