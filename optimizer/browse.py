"""Rows as a page shows them: a headline each, and all their texts cut so that the page stays small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optimizer.fields import as_text
from optimizer.page import cut, size
from optimizer.rows import ARMS, Answer, Answered

LABELS = {"seed": "seed", "dspy": "DSPy default", "winner": "winner"}
ROWS_BYTES = 1_700_000  # what the rows' texts may take of the page
CAPS = (8_000, 4_000, 2_000, 1_000, 600, 300, 150)  # bytes of one text
SHORT = 110  # bytes of a text in a row's headline


@dataclass(frozen=True)
class Shown:
    """One row to show: `kinds` are what it can be filtered by, `said` the reply and `mark` the words of its headline,
    `replies` every answer under its label."""

    row: Answered
    kinds: tuple[str, ...]
    said: str
    mark: str
    replies: Mapping[str, Answer]


@dataclass(frozen=True)
class Text:
    """A named text, with the number of characters that were left out and, for a reply, its score and its failure."""

    name: str
    text: str
    left_out: int
    score: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class View:
    """A row ready for the page."""

    n: int
    kinds: str
    asked: str
    right: str
    said: str
    mark: str
    texts: list[Text]


def of_run(row: Answered) -> Shown:
    """A row of one run: seed against winner."""
    seed, winner = row.answers["seed"], row.answers["winner"]
    kinds = (row.outcome, *(["unparsed"] if winner.unparsed else []))
    replies = {LABELS[arm]: row.answers[arm] for arm in ARMS}
    return Shown(row, kinds, winner.reply, f"{100 * seed.score:.0f} → {100 * winner.score:.0f}", replies)


def views(rows: Sequence[Shown]) -> list[View]:
    """The rows' texts, each cut so that all of them together stay within ROWS_BYTES where that can be had."""
    sizes = [size(text) for shown in rows for text in whole(shown)]
    cap = next((cap for cap in CAPS if sum(min(one, cap) for one in sizes) <= ROWS_BYTES), CAPS[-1])
    return [view(n, shown, cap) for n, shown in enumerate(rows, 1)]


def whole(shown: Shown) -> list[str]:
    """All texts of a row."""
    values = [*shown.row.inputs.values(), *shown.row.gold.values()]
    return [*map(as_text, values), *(answer.reply for answer in shown.replies.values())]


def view(n: int, shown: Shown, cap: int) -> View:
    """One row, each text of at most `cap` bytes."""
    row = shown.row
    asked, right = list(row.inputs.values())[-1], next(iter(row.gold.values()))
    texts = [Text(name, *cut(as_text(value), cap)) for name, value in row.inputs.items()]
    texts += [Text(f"gold {name}", *cut(as_text(value), cap)) for name, value in row.gold.items()]
    texts += [
        Text(label, *cut(answer.reply, cap), answer.score, cut(answer.reason or "", 200)[0])
        for label, answer in shown.replies.items()
    ]
    return View(n, " ".join(shown.kinds), short(asked), short(right), short(shown.said), shown.mark, texts)


def short(value: object) -> str:
    """A value in one short line."""
    return cut(" ".join(as_text(value).split()), SHORT)[0]
