"""report.html of a result: the arms, the training, the filter, and every test row."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distill.folder import DistilledFolder
from distill.report.card import COLUMNS, RIVAL_COLUMNS, arm_rows, comparison_rows, rival_rows
from distill.verdict.verdict import DistillVerdict, verdict_sentence
from optimizer.report.report import gain_colour, interval
from promptstill.files import read_json
from promptstill.prompt.prompt import Prompt
from promptstill.report import charts
from promptstill.report.charts import Interval
from promptstill.report.diff import prompt_text
from promptstill.report.page import cut_text, render
from promptstill.report.row_view import ReportRow, row_views
from promptstill.scoring.rivals.report import LABELS
from promptstill.scoring.rows import TestRow, read_test_rows

PAGE = Path(__file__).parent / "pages" / "result.html.jinja"
INKS = ("baseline", "winner", "good", "dspy")
EXAMPLES = 3  # rejected answers to show for each reason
BEST, STUDENT = "base + best prompt", "student + bare prompt"


def result_page(folder: DistilledFolder) -> str:
    """The page as text."""
    verdict = DistillVerdict.from_json(read_json(folder.verdict_path))
    record = read_json(folder.path / "train.json")
    return render(
        PAGE,
        name=record["from_prompt"]["name"],
        verdict=verdict,
        sentence=verdict_sentence(verdict),
        columns=COLUMNS,
        arms=arm_rows(verdict, int(record["settings"]["seed"])),
        rival_columns=RIVAL_COLUMNS,
        rivals=rival_rows(verdict),
        comparison=comparison_rows(verdict),
        charts=verdict_charts(verdict) | {"training": training_charts(read_lines(folder.path / "metrics.jsonl"))},
        sources=Counter(line["source"] for line in read_lines(folder.dataset_path)),
        rejected=rejected_by_reason(read_lines(folder.path / "rejected.jsonl")),
        prompt=prompt_text(Prompt.load(folder.prompt_path)),
        rows=row_views([arm_row(row) for row in read_test_rows(folder.path / "test.jsonl")]),
        record=record,
    )


def verdict_charts(verdict: DistillVerdict) -> dict[str, Any]:
    """The scores of arms and rivals, and the student's gains, with their intervals."""
    arms: list[Interval] = [
        interval(name, vars(arm.score), colour) for (name, arm), colour in zip(verdict.arms.items(), INKS, strict=False)
    ]
    arms += [interval(LABELS[name], vars(rival.score), "soft") for name, rival in verdict.rivals.items()]
    overs = [("over the best prompt", verdict.over_best), ("over gold labels", verdict.over_gold)]
    overs += [(f"over {LABELS[name]}", rival.gain) for name, rival in verdict.rivals.items()]
    gains = [interval(label, vars(over), gain_colour(vars(over))) for label, over in overs if over]
    return {
        "scores": charts.interval_chart(arms, "score on test, points, with 95 % interval"),
        "gains": charts.interval_chart(gains, "student's gain, points, with 95 % interval", zero=True),
    }


def training_charts(metrics: Sequence[Mapping[str, Any]]) -> Any:
    """Loss by update and dev score by epoch."""
    losses = [(line["step"], line["loss"]) for line in metrics if "dev" not in line]
    return charts.training_chart(losses, [(line["step"], 100 * line["dev"]) for line in metrics if "dev" in line])


def rejected_by_reason(rejected: Sequence[Mapping[str, Any]]) -> list[tuple[str, int, list[tuple[str, str]]]]:
    """Each reason with its number of answers and a few of them, the most frequent reason first."""
    counts = Counter(line["reason"] for line in rejected)
    return [
        (
            reason,
            n,
            [(cut_text(row["text"], 400)[0], row["detail"]) for row in rejected if row["reason"] == reason][:EXAMPLES],
        )
        for reason, n in counts.most_common()
    ]


def arm_row(row: TestRow) -> ReportRow:
    """A test row for the page: the student against the best prompt."""
    best, student = row.answers[BEST], row.answers[STUDENT]
    kind = "win" if student.score > best.score else "loss" if student.score < best.score else "same"
    kinds = (kind, *(["unparsed"] if student.unparsed else []))
    return ReportRow(row, kinds, student.reply, f"{100 * best.score:.0f} → {100 * student.score:.0f}", row.answers)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The values of a JSON-lines file, without a half-written last one. A missing file has none."""
    *whole, _ = path.read_text(encoding="utf-8").split("\n") if path.is_file() else [""]
    return [json.loads(line) for line in whole if line]
