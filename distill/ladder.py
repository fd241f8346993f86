"""The filter ladder: which of the teacher's answers a student learns from, and why not the others.

A labelled row keeps what the metric scores at or above `keep`; so does an unlabelled one where the metric is a judge.
Any other unlabelled row keeps what its answers agree on (self-consistency: Wang et al. 2022, arXiv 2203.11171).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distill.reasons import Reason, Rejected
from distill.student import Source
from distill.teacher import Answer
from optimizer.errors import ReplyError
from optimizer.evaluate import apply
from optimizer.examples import Example
from optimizer.fields import as_text
from optimizer.files import canonical
from optimizer.metrics import Metric

EXACT, GRADED = 1.0, 0.8
MARGIN = 0.3
CLOSE = 1e-9  # what sums of floats may lose


@dataclass(frozen=True)
class Rules:
    """keep: the score from which an answer is right; None is 1.0 where all scores are 0 or 1, else 0.8.
    most: distinct right answers kept per row.
    margin: by how large a share of a row's answers the first must lead the second where nothing else can judge. Of five
        answers, 0.3 asks for a lead of two, which no single redraw can turn round; at 0.2 one can.
    gold: whether a labelled row without a right answer is learned from its label.
    """

    keep: float | None = None
    most: int = 1
    margin: float = MARGIN
    gold: bool = False


@dataclass(frozen=True)
class Kept:
    """Outputs to learn for a row. `sample` and `score` are None for a label; `score` too where none was possible."""

    example: Example
    outputs: Mapping[str, Any]
    text: str
    sample: int | None
    score: float | None
    source: Source


@dataclass(frozen=True)
class Sifted:
    """What came through, in the order of rows; what did not; the threshold that was used; each scored row's best."""

    kept: list[Kept]
    rejected: list[Rejected]
    keep: float
    best: dict[str, float]


@dataclass(frozen=True)
class Graded:
    """A readable answer. `key` is equal for answers that say the same."""

    answer: Answer
    outputs: Mapping[str, Any]
    key: str
    score: float | None

    def reject(self, reason: Reason) -> Rejected:
        return Rejected(self.answer.example, self.answer.sample, self.answer.text, reason)

    def keep(self) -> Kept:
        return Kept(self.answer.example, self.outputs, self.answer.text, self.answer.sample, self.score, "teacher")


def sift(answers: Sequence[Answer], metric: Metric, fields: Sequence[str], rules: Rules) -> Sifted:
    """Keep and reject. `fields` are the task's outputs: what else the teacher wrote (its reasoning) is not learned.

    Raises `UserError` where the metric raises or returns no number in [0, 1].
    """
    rows: dict[str, list[Answer]] = {}
    for answer in answers:
        rows.setdefault(answer.example.id, []).append(answer)
    graded = {id_: grade_row(row, metric, fields) for id_, row in rows.items()}
    keep = rules.keep
    if keep is None:
        keep = default_keep(one.score for row in graded.values() for one in row if one.score is not None)
    sifted = Sifted([], [], keep, best_scores(graded))
    for id_, row in rows.items():
        unusable = [Rejected(a.example, a.sample, a.text, a.reason) for a in row if a.reason]
        scored = any(one.score is not None for one in graded[id_])
        right, wrong = by_score(graded[id_], keep) if scored else by_vote(graded[id_], len(row), rules.margin)
        kept, spare = distinct(right, rules.most)
        sifted.rejected.extend([*unusable, *wrong, *spare])
        sifted.kept.extend(kept or (labels([row[0].example]) if rules.gold else []))
    return sifted


def best_scores(graded: Mapping[str, Sequence[Graded]]) -> dict[str, float]:
    """The score of each row's best answer, for rows with any."""
    scores = {id_: [one.score for one in row if one.score is not None] for id_, row in graded.items()}
    return {id_: max(row) for id_, row in scores.items() if row}


def default_keep(scores: Iterable[float]) -> float:
    """1.0 for a metric that says right or wrong, else 0.8."""
    return EXACT if all(score in (0.0, 1.0) for score in scores) else GRADED


def labels(examples: Sequence[Example]) -> list[Kept]:
    """The labelled rows with their labels, as a student taught by people gets them."""
    return [Kept(ex, ex.outputs, "", None, None, "gold") for ex in examples if ex.outputs]


def grade_row(row: Sequence[Answer], metric: Metric, fields: Sequence[str]) -> list[Graded]:
    """A row's readable answers; the metric is asked once for each that differs, and only where it can tell."""
    tells = bool(row[0].example.outputs) or getattr(metric, "judge", False)
    scores: dict[str, float] = {}
    graded = []
    for answer in row:
        if answer.outputs is None:
            continue
        said = canonical(dict(answer.outputs))
        if tells and said not in scores:
            try:
                scores[said] = apply(metric, answer.example, answer.outputs)
            except ReplyError:  # a judge that gave no mark
                scores[said] = 0.0
        outputs = {name: answer.outputs[name] for name in fields}
        graded.append(Graded(answer, outputs, normalised(outputs), scores.get(said)))
    return graded


def normalised(outputs: Mapping[str, Any]) -> str:
    """One text for outputs that differ in case, spacing, quotes or a final stop alone."""
    return canonical({name: " ".join(as_text(v).casefold().split()).strip(" .\"'`") for name, v in outputs.items()})


def by_score(graded: Sequence[Graded], keep: float) -> tuple[list[Graded], list[Rejected]]:
    """Those at or above the threshold, and the rest."""
    right = [one for one in graded if (one.score or 0.0) >= keep - CLOSE]
    low = [one for one in graded if (one.score or 0.0) < keep - CLOSE]
    return right, [one.reject(Reason("scored too low", f"{one.score or 0.0:.2f} below {keep:g}")) for one in low]


def by_vote(graded: Sequence[Graded], asked: int, margin: float) -> tuple[list[Graded], list[Rejected]]:
    """What the row's answers agree on. Shares are of all answers asked for: what could not be read agrees with none."""
    votes = Counter(one.key for one in graded)
    (first, most), (_, next_most) = [*votes.most_common(2), ("", 0), ("", 0)][:2]
    lead = most - next_most
    if lead == 0 or lead < margin * asked - CLOSE:
        return [], [one.reject(Reason("no majority", f"{most} of {asked}")) for one in graded]
    lost = [one.reject(Reason("outvoted", f"{votes[one.key]} of {asked}")) for one in graded if one.key != first]
    return [one for one in graded if one.key == first], lost


def distinct(right: Sequence[Graded], most: int) -> tuple[list[Kept], list[Rejected]]:
    """At most `most` answers that differ: the greedy one first, then by score, then by how often it was given."""
    votes = Counter(one.key for one in right)
    order = sorted(
        right, key=lambda one: (one.answer.sample > 0, -(one.score or 0.0), -votes[one.key], one.answer.sample)
    )
    best: dict[str, Graded] = {}
    for one in order:
        best.setdefault(one.key, one)
    chosen = list(best.values())[:most]
    kept_keys = {one.key for one in chosen}
    spare = [one for one in right if one not in chosen]
    twin, beyond = Reason("duplicate of a kept answer"), Reason("more than -m answers")
    return [one.keep() for one in chosen], [one.reject(twin if one.key in kept_keys else beyond) for one in spare]
