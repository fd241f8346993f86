"""Decides which of the teacher's answers a student is trained on, and says why not the others.

A labelled row keeps the answers that the metric scores at or above `min_score`. So does an unlabelled row where the
metric is a judge. Any other unlabelled row keeps what its answers agree on (self-consistency: Wang et al. 2022, arXiv
2203.11171).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distill.teach.example import AnswerSource
from distill.teach.reasons import Reason, Rejected
from distill.teach.teacher import TeacherAnswer
from promptstill.errors import ReplyError
from promptstill.files import canonical_json
from promptstill.prompt.fields import as_text
from promptstill.task.examples import Example
from promptstill.task.metrics import apply_metric, is_judge
from promptstill.task.recipe import Metric

EXACT_THRESHOLD, GRADED_THRESHOLD = 1.0, 0.8
MARGIN = 0.3
FLOAT_TOLERANCE = 1e-9  # what sums of floats may lose


@dataclass(frozen=True)
class FilterRules:
    """min_score: lowest score of a right answer; None is 1.0 where all scores are 0 or 1, else 0.8.
    max_per_row: most different right answers to keep per row.
    margin: where only votes can tell, the share of a row's answers by which the first must lead the second. Of five
        answers, 0.3 asks for a lead of two, which no single other reply could turn round; at 0.2 one could.
    gold: whether a labelled row without a right answer is trained on with its label.
    """

    min_score: float | None = None
    max_per_row: int = 1
    margin: float = MARGIN
    gold: bool = False


@dataclass(frozen=True)
class Accepted:
    """Outputs to train on for a row. A label has no `sample` and no `score`, an answer chosen by vote no `score`."""

    example: Example
    outputs: Mapping[str, Any]
    text: str
    sample: int | None
    score: float | None
    source: AnswerSource


@dataclass(frozen=True)
class Filtered:
    """The accepted answers in the order of rows, the rejected ones, the threshold, and each row's best score."""

    accepted: list[Accepted]
    rejected: list[Rejected]
    min_score: float
    best_scores: dict[str, float]


@dataclass(frozen=True)
class ScoredAnswer:
    """A readable answer; `score` is None where nothing could score it. Answers that say the same have equal `key`s."""

    answer: TeacherAnswer
    outputs: Mapping[str, Any]
    key: str
    score: float | None

    def reject(self, reason: Reason) -> Rejected:
        return Rejected(self.answer.example, self.answer.sample, self.answer.text, reason)

    def accept(self) -> Accepted:
        return Accepted(self.answer.example, self.outputs, self.answer.text, self.answer.sample, self.score, "teacher")


def filter_answers(
    answers: Sequence[TeacherAnswer], metric: Metric, fields: Sequence[str], rules: FilterRules
) -> Filtered:
    """Accept or reject every answer. Only the task's outputs, `fields`, are trained on, not the teacher's reasoning.

    Raises `UserError` where the metric raises or returns no number in [0, 1].
    """
    rows: dict[str, list[TeacherAnswer]] = {}
    for answer in answers:
        rows.setdefault(answer.example.id, []).append(answer)
    scored = {id_: score_answers(row, metric, fields) for id_, row in rows.items()}
    min_score = rules.min_score
    if min_score is None:
        min_score = default_min_score(one.score for row in scored.values() for one in row if one.score is not None)
    filtered = Filtered([], [], min_score, best_scores(scored))
    for id_, row in rows.items():
        unusable = [Rejected(a.example, a.sample, a.text, a.reason) for a in row if a.reason]
        has_scores = any(one.score is not None for one in scored[id_])
        right, wrong = (
            split_by_score(scored[id_], min_score) if has_scores else split_by_vote(scored[id_], len(row), rules.margin)
        )
        accepted, surplus = pick_distinct(right, rules.max_per_row)
        filtered.rejected.extend([*unusable, *wrong, *surplus])
        filtered.accepted.extend(accepted or (from_labels([row[0].example]) if rules.gold else []))
    return filtered


def best_scores(scored: Mapping[str, Sequence[ScoredAnswer]]) -> dict[str, float]:
    """The score of each row's best answer, for rows with any."""
    scores = {id_: [one.score for one in row if one.score is not None] for id_, row in scored.items()}
    return {id_: max(row) for id_, row in scores.items() if row}


def default_min_score(scores: Iterable[float]) -> float:
    """1.0 for a metric that says right or wrong, else 0.8."""
    return EXACT_THRESHOLD if all(score in (0.0, 1.0) for score in scores) else GRADED_THRESHOLD


def from_labels(examples: Sequence[Example]) -> list[Accepted]:
    """The labelled rows with their labels, to train on in place of the teacher's answers."""
    return [Accepted(ex, ex.outputs, "", None, None, "gold") for ex in examples if ex.outputs]


def score_answers(row: Sequence[TeacherAnswer], metric: Metric, fields: Sequence[str]) -> list[ScoredAnswer]:
    """A row's readable answers. The metric scores each different one once, where there is a label or it is a judge."""
    can_score = bool(row[0].example.outputs) or is_judge(metric)
    scores: dict[str, float] = {}
    scored = []
    for answer in row:
        if answer.outputs is None:
            continue
        text = canonical_json(dict(answer.outputs))
        if can_score and text not in scores:
            try:
                scores[text] = apply_metric(metric, answer.example, answer.outputs).score
            except ReplyError:  # a judge that gave no mark
                scores[text] = 0.0
        outputs = {name: answer.outputs[name] for name in fields}
        scored.append(ScoredAnswer(answer, outputs, normalised(outputs), scores.get(text)))
    return scored


def normalised(outputs: Mapping[str, Any]) -> str:
    """One text for outputs that differ only in case, spacing, quotes or a final stop."""
    texts = {name: " ".join(as_text(value).casefold().split()) for name, value in outputs.items()}
    return canonical_json({name: text.strip(" .\"'`") for name, text in texts.items()})


def split_by_score(scored: Sequence[ScoredAnswer], min_score: float) -> tuple[list[ScoredAnswer], list[Rejected]]:
    """Those at or above the threshold, and the rest."""
    right = [one for one in scored if (one.score or 0.0) >= min_score - FLOAT_TOLERANCE]
    low = [one for one in scored if (one.score or 0.0) < min_score - FLOAT_TOLERANCE]
    return right, [one.reject(Reason("scored too low", f"{one.score or 0.0:.2f} below {min_score:g}")) for one in low]


def split_by_vote(
    scored: Sequence[ScoredAnswer], replies: int, margin: float
) -> tuple[list[ScoredAnswer], list[Rejected]]:
    """Those that say what most say, and the rest. Shares are of all `replies`: an unreadable one agrees with none."""
    votes = Counter(one.key for one in scored)
    (first, most), (_, next_most) = [*votes.most_common(2), ("", 0), ("", 0)][:2]
    lead = most - next_most
    if lead == 0 or lead < margin * replies - FLOAT_TOLERANCE:
        return [], [one.reject(Reason("no majority", f"{most} of {replies}")) for one in scored]
    lost = [one.reject(Reason("outvoted", f"{votes[one.key]} of {replies}")) for one in scored if one.key != first]
    return [one for one in scored if one.key == first], lost


def pick_distinct(right: Sequence[ScoredAnswer], most: int) -> tuple[list[Accepted], list[Rejected]]:
    """At most `most` different answers: the greedy one first, then by score, then by how often it was given."""
    votes = Counter(one.key for one in right)
    order = sorted(
        right, key=lambda one: (one.answer.sample > 0, -(one.score or 0.0), -votes[one.key], one.answer.sample)
    )
    best: dict[str, ScoredAnswer] = {}
    for one in order:
        best.setdefault(one.key, one)
    chosen = list(best.values())[:most]
    chosen_keys = {one.key for one in chosen}
    surplus = [one for one in right if one not in chosen]
    twin, beyond = Reason("duplicate of a kept answer"), Reason("more than -m answers")
    rejected = [one.reject(twin if one.key in chosen_keys else beyond) for one in surplus]
    return [one.accept() for one in chosen], rejected
