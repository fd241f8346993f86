"""Rows as a page shows them: a summary line each, and all their texts, cut so that the page stays small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from promptstill.prompt.fields import as_text
from promptstill.report.page import cut_text, page_bytes
from promptstill.scoring.rivals import report as rivals
from promptstill.scoring.rows import ArmReply, TestRow

LABELS = {"baseline": "baseline", "dspy": "DSPy default", "winner": "winner"}
ROWS_BYTES = 1_700_000  # of all rows' texts in a page
TEXT_BYTES = (8_000, 4_000, 2_000, 1_000, 600, 300, 150)  # of one text: the first limit that keeps ROWS_BYTES
SUMMARY_BYTES = 110  # of a text in a row's summary line


def arm_labels(own: str | None) -> dict[str, str]:
    """The arms by the names that a reader sees. own: what the user's own prompt is called, where it is the baseline."""
    return LABELS | ({"baseline": own} if own else {})


@dataclass(frozen=True)
class ReportRow:
    """What a report shows of one row.

    kinds: what the row can be filtered by. reply, scores: of the summary line. replies: all arms' replies by label.
    """

    row: TestRow
    kinds: tuple[str, ...]
    reply: str
    scores: str
    replies: Mapping[str, ArmReply]


@dataclass(frozen=True)
class RowText:
    """A text of a row under its name, and the number of characters left out; for a reply also its score and failure."""

    name: str
    text: str
    left_out: int
    score: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class RowView:
    """A row as the template takes it: its number, its summary line, and its texts."""

    number: int
    kinds: str
    input: str
    gold: str
    reply: str
    scores: str
    texts: list[RowText]


def to_report_row(row: TestRow) -> ReportRow:
    """A row of one run: winner against baseline prompt."""
    baseline, winner = row.answers["baseline"], row.answers["winner"]
    kinds = (row.outcome, *(["unparsed"] if winner.unparsed else []))
    labels = LABELS | rivals.LABELS
    replies = {label: row.answers[arm] for arm, label in labels.items() if arm in row.answers}
    return ReportRow(row, kinds, winner.reply, f"{100 * baseline.score:.0f} → {100 * winner.score:.0f}", replies)


def row_views(rows: Sequence[ReportRow]) -> list[RowView]:
    """The rows, each text cut so that all of them together take at most ROWS_BYTES, where that is possible."""
    sizes = [page_bytes(text) for row in rows for text in row_texts(row)]
    fitting = (limit for limit in TEXT_BYTES if sum(min(size, limit) for size in sizes) <= ROWS_BYTES)
    limit = next(fitting, TEXT_BYTES[-1])
    return [row_view(number, row, limit) for number, row in enumerate(rows, 1)]


def row_texts(row: ReportRow) -> list[str]:
    """All texts of a row."""
    values = [*row.row.inputs.values(), *row.row.gold.values()]
    answers = row.replies.values()
    return [*map(as_text, values), *(answer.reply for answer in answers), *(answer.feedback for answer in answers)]


def row_view(number: int, row: ReportRow, limit: int) -> RowView:
    """One row, each text of at most `limit` bytes."""
    inputs, gold = row.row.inputs, row.row.gold
    texts = [RowText(name, *cut_text(as_text(value), limit)) for name, value in inputs.items()]
    texts += [RowText(f"gold {name}", *cut_text(as_text(value), limit)) for name, value in gold.items()]
    for label, answer in row.replies.items():
        texts.append(RowText(label, *cut_text(answer.reply, limit), answer.score, cut_text(answer.remark, 200)[0]))
        if answer.feedback:
            texts.append(RowText(f"the metric on {label}", *cut_text(answer.feedback, limit)))
    return RowView(
        number,
        " ".join(row.kinds),
        summary_text(list(inputs.values())[-1]),
        summary_text(next(iter(gold.values()))),
        summary_text(row.reply),
        row.scores,
        texts,
    )


def summary_text(value: object) -> str:
    """A value on one short line."""
    return cut_text(" ".join(as_text(value).split()), SUMMARY_BYTES)[0]
