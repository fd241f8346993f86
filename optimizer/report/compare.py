"""`optimize --compare`: several runs side by side on the same test rows, as a table and as one page.

Runs stand in the order of their winners' dev scores, the best first: dev is there to choose by, and test only tells.
Refuses runs whose test rows differ: their scores are of different questions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from optimizer.report.report import RunFacts, gain_colour, interval, read_facts, rivals_of
from optimizer.run.folder import RunFolder
from optimizer.run.winners import winners_line, winners_on
from promptstill.errors import UserError
from promptstill.files import write_text
from promptstill.report import charts
from promptstill.report.diff import prompt_text, word_diff
from promptstill.report.page import count, percent, points, render, signed
from promptstill.report.row_view import ReportRow, row_views
from promptstill.scoring.calibration import NONE
from promptstill.scoring.compare import Marks, difference
from promptstill.scoring.rivals.report import LABELS
from promptstill.scoring.rows import ArmReply, TestRow
from promptstill.shell import command_line
from promptstill.stats import Gain

PAGE = Path(__file__).parent / "pages" / "compare.html.jinja"
INKS = ("winner", "dspy", "good", "bad", "baseline")
COLUMNS = (
    "run",
    "model",
    "layout",
    "demos",
    "reasoning",
    "calibration",
    "dev",
    "baseline",
    "winner",
    "95 % interval",
    "over run 1",
    "unparsed",
    "prompt tokens",
    "calls",
    "minutes",
    "best rival",
)
FIGURES = slice(6, 13)  # the columns that a terminal of 80 characters holds


@dataclass(frozen=True)
class ComparedRun:
    """A finished run: `over` is its winner's paired gain over the first run's winner; None for the first itself."""

    path: Path
    name: str
    facts: RunFacts
    best: Mapping[str, Any]
    over: Gain | None

    @property
    def dev(self) -> float:
        """The winner's score, from 0 to 1."""
        return float(self.best["scores"]["dev"]["winner"]["mean"])

    @property
    def test(self) -> Mapping[str, Any]:
        return dict(self.best["scores"]["test"])

    def cells(self) -> list[str]:
        """The run's line of the table."""
        winner, score, search = self.test["winner"], self.test["winner"]["score"], self.best["search"]
        over = f"{signed(self.over.mean)} ({signed(self.over.low)} to {signed(self.over.high)})" if self.over else ""
        return [
            self.name,
            str(self.best["model"]["name"]),
            str(search["winner"]["layout"]),
            f"{search['winner']['demos']}, {search['winner']['k']}",
            str(search["winner"]["reasoning"]),
            str(search["winner"].get("calibration", NONE)),
            points(self.dev),
            points(self.test["baseline"]["score"]["mean"]),
            points(score["mean"]),
            f"{points(score['low'])} to {points(score['high'])}",
            over,
            percent(winner["parse_failures"]),
            count(winner["prompt_tokens"]),
            count(search["spent"]["total"]["calls"]),
            f"{search['seconds'] / 60:.1f}",
            self.best_rival,
        ]

    @property
    def best_rival(self) -> str:
        """The rival that scores highest, with its score; empty where none was measured."""
        rivals = rivals_of(self.test)
        highest = max(rivals, key=lambda name: rivals[name].score.mean, default=None)
        return f"{LABELS[highest]} {points(rivals[highest].score.mean)}" if highest else ""


def compare_runs(paths: Sequence[Path], output: Path) -> tuple[RenderableType, Path]:
    """Write the page to `output`; its figures for the terminal, and the best.json of the run that is best on dev.

    Raises `UserError`.
    """
    entries = open_runs(paths)
    used = used_line(entries)
    write_text(output, page(entries, used), private=True)
    return Group(terminal_table(entries), Text(used)), RunFolder(entries[0].path).best_path


def used_line(entries: Sequence[ComparedRun]) -> str:
    """How many winners these test rows have measured, and what follows for who reads their scores."""
    rows = entries[0].facts.rows
    count = len(winners_on([row.id for row in rows], [entry.path.absolute().parent for entry in entries]))
    return f"{winners_line(count, rows)}. Choose by dev: the highest of several on test looks better than it is."


def open_runs(paths: Sequence[Path]) -> list[ComparedRun]:
    """The runs, the best on dev first. Raises `UserError` for fewer than two, an unfinished one, or other test rows."""
    if len(paths) < 2:
        raise UserError("--compare takes two run folders or more.", "", "Try: optimize --compare runs/*")
    facts = [read_facts(RunFolder.open(path)) for path in paths]
    bests = [finished_best(path, one) for path, one in zip(paths, facts, strict=True)]
    for path, one in zip(paths, facts, strict=True):
        refuse_other_rows(path, one, paths[0], facts[0])
    runs = [ComparedRun(*parts, None) for parts in zip(paths, distinct_names(paths), facts, bests, strict=True)]
    first, *others = sorted(runs, key=lambda run: -run.dev)
    return [first, *(replace(other, over=paired_gain(other.facts, first.facts)) for other in others)]


def finished_best(path: Path, one: RunFacts) -> Mapping[str, Any]:
    """The best.json of a run that has read test. Raises `UserError` for another."""
    if one.best is None or one.best["scores"]["test"] is None or not one.rows:
        raise UserError(
            f"{path} has no test scores to compare.",
            "Its run has not ended, a limit kept it from test, or it has no test.jsonl.",
            f"Go on with it: {command_line('optimize', '--resume', path)}",
        )
    return one.best


def refuse_other_rows(path: Path, one: RunFacts, first_path: Path, first: RunFacts) -> None:
    """A run can be compared with the first when both read the same test."""
    if one.record["splits"]["sha256"]["test"] != first.record["splits"]["sha256"]["test"]:
        raise UserError(
            f"{path} and {first_path} have different test rows.",
            "Scores on different rows say nothing about each other.",
            "Compare runs of the same data with the same --split-seed.",
        )


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """The folders' names; where two have the same, their paths."""
    names = [path.resolve().name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def paired_gain(one: RunFacts, first: RunFacts) -> Gain:
    """The gain of a run's winner over the first run's, row by row."""
    others = {row.id: row for row in one.rows}
    after = winner_marks([others[row.id] for row in first.rows])
    return difference(after, winner_marks(first.rows), int(first.record["settings"]["seed"]))


def winner_marks(rows: Sequence[TestRow]) -> Marks:
    """What a run's winner got on these rows."""
    answers = [row.answers["winner"] for row in rows]
    labels = [answer.labels for answer in answers if answer.labels]
    groups = [row.group for row in rows]
    return Marks([answer.score for answer in answers], groups, labels if len(labels) == len(rows) else None)


def terminal_table(entries: Sequence[ComparedRun]) -> RenderableType:
    """The runs by number, and a line of figures for each."""
    title = f"test: the same {len(entries[0].facts.rows)} rows in every run"
    shown = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    shown.add_column("run")
    for column in COLUMNS[FIGURES]:
        shown.add_column(column, justify="right")
    for number, entry in enumerate(entries, 1):
        shown.add_row(str(number), *entry.cells()[FIGURES])
    names = [f"run {number}: {', '.join(entry.cells()[:4])}" for number, entry in enumerate(entries, 1)]
    return Group(*map(Text, names), shown)


def page(entries: Sequence[ComparedRun], used: str) -> str:
    """The page as text. used: how many winners the test rows have measured."""
    first = entries[0]
    scores = [
        interval(f"run {n}", entry.test["winner"]["score"], INKS[(n - 1) % len(INKS)])
        for n, entry in enumerate(entries, 1)
    ]
    overs = [(f"run {n}", vars(entry.over)) for n, entry in enumerate(entries, 1) if entry.over]
    gains = [interval(label, over, gain_colour(over)) for label, over in overs]
    return render(
        PAGE,
        entries=entries,
        used=used,
        columns=COLUMNS,
        scores=charts.interval_chart(scores, "winner's score on test, points, with 95 % interval"),
        gains=charts.interval_chart(gains, "gain over run 1, points, with 95 % interval", zero=True),
        same_recipe=len({entry.facts.record["recipe"]["sha256"] for entry in entries}) == 1,
        prompts=[
            word_diff(prompt_text(first.facts.prompts["winner"]), prompt_text(entry.facts.prompts["winner"]))
            for entry in entries
        ],
        rows=row_views(side_by_side(entries)),
    )


def side_by_side(entries: Sequence[ComparedRun]) -> list[ReportRow]:
    """Each row with every run's winning reply; it can be filtered by whether the runs differ."""
    others = [{row.id: row for row in entry.facts.rows} for entry in entries]
    return [compared_row(row, [other[row.id].answers["winner"] for other in others]) for row in entries[0].facts.rows]


def compared_row(row: TestRow, answers: Sequence[ArmReply]) -> ReportRow:
    scores = [answer.score for answer in answers]
    kinds = ["same" if max(scores) - min(scores) < 1e-9 else "differ"]
    kinds += ["win"] if scores[-1] > scores[0] else ["loss"] if scores[-1] < scores[0] else []
    replies = {f"run {n}": answer for n, answer in enumerate(answers, 1)}
    return ReportRow(
        row, tuple(kinds), answers[-1].reply, " · ".join(f"{100 * score:.0f}" for score in scores), replies
    )
