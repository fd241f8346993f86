"""distilled/report.html of a result: the arms, the training, the answers kept and rejected, and every test row."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distill.card import COLUMNS, comparison, rows
from distill.folder import Distilled
from distill.verdict import Verdict, sentence
from optimizer import charts
from optimizer.browse import Shown, views
from optimizer.charts import Interval
from optimizer.marked import prompt_text
from optimizer.page import cut, render
from optimizer.prompt import Prompt
from optimizer.report import ink, interval
from optimizer.rows import Answered, read_rows

FOLDER = Path(__file__).parent / "pages"
INKS = ("seed", "winner", "good", "dspy")
EXAMPLES = 3  # rejected answers shown of each reason
BEST, STUDENT = "base + best prompt", "student + bare prompt"


def page(folder: Distilled) -> str:
    """The page as text."""
    verdict = Verdict.from_json(load(folder.path / "verdict.json"))
    trained = load(folder.path / "train.json")
    return render(
        "distilled.html.jinja",
        FOLDER,
        name=trained["from_prompt"]["name"],
        verdict=verdict,
        sentence=sentence(verdict),
        columns=COLUMNS,
        arms=rows(verdict, int(trained["settings"]["seed"])),
        comparison=comparison(verdict),
        charts=drawn(verdict) | {"training": course(lines(folder.path / "metrics.jsonl"))},
        kept=Counter(line["source"] for line in lines(folder.path / "dataset.jsonl")),
        rejected=rejections(lines(folder.path / "rejected.jsonl")),
        prompt=prompt_text(Prompt.load(folder.prompt_path)),
        rows=views([shown(row) for row in read_rows(folder.path / "test.jsonl")]),
        trained=trained,
    )


def drawn(verdict: Verdict) -> dict[str, Any]:
    """The arms' scores, and the student's gains, with their intervals."""
    arms: list[Interval] = [
        interval(name, vars(arm.score), colour) for (name, arm), colour in zip(verdict.arms.items(), INKS, strict=False)
    ]
    overs = [("over the best prompt", verdict.over_best), ("over gold labels", verdict.over_gold)]
    gains = [interval(label, vars(over), ink(vars(over))) for label, over in overs if over]
    return {
        "scores": charts.intervals("scores", arms, "score on test, points, with 95 % interval"),
        "gains": charts.intervals("gains", gains, "student's gain, points, with 95 % interval", zero=True),
    }


def course(metrics: Sequence[Mapping[str, Any]]) -> Any:
    """Loss by update and dev score by epoch."""
    losses = [(line["step"], line["loss"]) for line in metrics if "dev" not in line]
    return charts.training(losses, [(line["step"], 100 * line["dev"]) for line in metrics if "dev" in line])


def rejections(rejected: Sequence[Mapping[str, Any]]) -> list[tuple[str, int, list[tuple[str, str]]]]:
    """Each reason with its number of answers and a few of them, the most frequent first."""
    counts = Counter(line["reason"] for line in rejected)
    return [
        (
            reason,
            n,
            [(cut(line["text"], 400)[0], line["detail"]) for line in rejected if line["reason"] == reason][:EXAMPLES],
        )
        for reason, n in counts.most_common()
    ]


def shown(row: Answered) -> Shown:
    """A row of the four arms: student against the best prompt."""
    best, student = row.answers[BEST], row.answers[STUDENT]
    kind = "win" if student.score > best.score else "loss" if student.score < best.score else "same"
    kinds = (kind, *(["unparsed"] if student.unparsed else []))
    return Shown(row, kinds, student.reply, f"{100 * best.score:.0f} → {100 * student.score:.0f}", row.answers)


def lines(path: Path) -> list[dict[str, Any]]:
    """The values of a JSON-lines file; none of one that is not there, and not the last one where it is half-written."""
    *whole, _ = path.read_text(encoding="utf-8").split("\n") if path.is_file() else [""]
    return [json.loads(line) for line in whole if line]


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
