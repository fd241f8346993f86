"""report.html: what a run found, for looking at. Made from the run folder's files alone, while it runs and after."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optimizer.report.importance import importances, tried_values
from optimizer.report.warnings import find_warnings
from optimizer.run.folder import RunFolder
from optimizer.search.baseline import BASELINE, own_name
from optimizer.search.space import Space
from optimizer.search.study import Trial
from promptstill.errors import UserError
from promptstill.files import read_json, write_text
from promptstill.prompt.prompt import Prompt
from promptstill.report import charts
from promptstill.report.charts import Interval, Point
from promptstill.report.diff import prompt_text, word_diff
from promptstill.report.page import render
from promptstill.report.row_view import arm_labels, row_views, to_report_row
from promptstill.scoring.rivals.report import LABELS, RivalReport, rival_note
from promptstill.scoring.rows import TestRow, read_test_rows
from promptstill.scoring.test_report import folds_note
from promptstill.stats import MIN_GROUPS

PAGE = Path(__file__).parent / "pages" / "report.html.jinja"


@dataclass(frozen=True)
class RunFacts:
    """What the run folder holds, as far as the run has come."""

    record: Mapping[str, Any]
    trials: Sequence[Trial]
    space: Space | None
    prompts: Mapping[str, Prompt]
    best: Mapping[str, Any] | None
    rows: Sequence[TestRow]

    @property
    def chosen(self) -> str | None:
        """The id of the winner, or of the best so far."""
        return self.prompts["winner"].id if "winner" in self.prompts else None


def read_facts(run: RunFolder) -> RunFacts:
    """The facts of a run, finished or not. Raises `UserError` for a folder that another version wrote otherwise."""
    try:
        space, best = (read_json(path) if path.is_file() else None for path in (run.pools_path, run.best_path))
        return RunFacts(
            run.record,
            run.trials(),
            Space.from_json(space) if space else None,
            run.prompts(),
            best,
            read_test_rows(run.test_path),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{run.path} cannot be read: {type(error).__name__} {error}.",
            f"It was written by promptstill {run.record['versions'].get('promptstill', 'of another version')}.",
            "Make the run again, or read it with that version.",
        ) from error


def write_report(run: RunFolder, *, running: bool = False) -> None:
    """Write report.html anew; while the run works the page reloads itself."""
    write_text(run.report_path, page(read_facts(run), run.path.name, running=running), private=True)


def page(facts: RunFacts, run_name: str, *, running: bool) -> str:
    """The page as text."""
    test = facts.best["scores"]["test"] if facts.best else None
    return render(
        PAGE,
        run=run_name,
        running=running,
        record=facts.record,
        best=facts.best,
        test=test,
        folds_note=folds_note(len(test.get("folds", ())), test["winner"]["score"]["n"]) if test else "",
        rivals=rivals_of(test),
        rival_labels=LABELS,
        rival_note=rival_note(test["winner"]["score"]["mean"], rivals_of(test)) if test else "",
        arms=arm_labels(own_name(facts.record.get("baseline"))),
        baseline=own_name(facts.record.get("baseline")) or BASELINE,
        cautions=find_warnings(facts.record, facts.best, facts.space, facts.prompts.get("winner"), facts.rows),
        charts={**headline_charts(facts, test), **search_charts(facts)},
        trials=facts.trials,
        chosen=facts.chosen,
        choices=choices(facts),
        prompt=prompt_view(facts),
        rows=row_views([to_report_row(row) for row in facts.rows]),
        spent=facts.record.get("spent"),
        evaluated=sum(len(trial.scores) for trial in facts.trials),
        full=len(facts.trials) * facts.record["splits"]["dev"],
    )


def rivals_of(test: Mapping[str, Any] | None) -> dict[str, RivalReport]:
    """The rivals on test; none where they were left out, or by a version that knew of none."""
    stored = test.get("rivals", {}) if test else {}
    return {name: RivalReport.from_json(rival) for name, rival in stored.items()}


def headline_charts(facts: RunFacts, test: Mapping[str, Any] | None) -> dict[str, Any]:
    """The intervals of prompts and rivals, and of the winner's gains over the others."""
    if test is None:
        return {}
    labels = arm_labels(own_name(facts.record.get("baseline")))
    scores = [interval(label, test[arm]["score"], arm) for arm, label in labels.items() if arm in test]
    rivals = rivals_of(test)
    scores += [interval(LABELS[name], vars(one.score), "soft") for name, one in rivals.items()]
    gains = [("over baseline", "over_baseline"), ("over DSPy default", "over_dspy")]
    measured = [(label, test["gains"][key]) for label, key in gains if key in test["gains"]]
    measured += [(f"over {LABELS[name]}", vars(one.gain)) for name, one in rivals.items()]
    over = [interval(label, one, gain_colour(one)) for label, one in measured]
    return {
        "scores": charts.interval_chart(scores, "score on test, points, with 95 % interval"),
        "gains": charts.interval_chart(over, "winner's gain, points, with 95 % interval", zero=True),
    }


def interval(label: str, value: Mapping[str, float], colour: str) -> Interval:
    return Interval(label, 100 * value["mean"], 100 * value["low"], 100 * value["high"], colour)


def gain_colour(gain: Mapping[str, float]) -> str:
    """Green above zero, red below, grey where the interval holds it or the rows cannot tell."""
    if gain.get("groups", MIN_GROUPS) < MIN_GROUPS:
        return "baseline"
    return "good" if gain["low"] > 0 else "bad" if gain["high"] < 0 else "baseline"


def search_charts(facts: RunFacts) -> dict[str, Any]:
    """The charts of the search."""
    trials, rows = facts.trials, facts.record["splits"]["dev"]
    if not trials:
        return {}
    order = {id(trial): number for number, trial in enumerate(trials)}
    made = {
        "search": charts.search_chart(
            points(facts, lambda trial: order[id(trial)]), [len(trial.scores) for trial in trials], rows
        ),
        "tokens": charts.tradeoff_chart(points(facts, lambda trial: trial.prompt_tokens), "prompt tokens a request"),
    }
    if all(trial.seconds for trial in trials):
        waits = points(facts, lambda trial: trial.seconds)
        made["seconds"] = charts.tradeoff_chart(waits, "median wait of a request under the search's load, s")
    return made


def points(facts: RunFacts, price: Any) -> list[Point]:
    """The trials at their price, those on the Pareto front of score and price marked."""
    front: set[int] = set()
    best = -1.0
    for trial in sorted(facts.trials, key=lambda t: (price(t), -t.value)):
        if not trial.lost and trial.value > best:
            front.add(id(trial))
            best = trial.value
    return [Point(price(t), 100 * t.value, t.lost, t.prompt_id == facts.chosen, id(t) in front) for t in facts.trials]


def choices(facts: RunFacts) -> dict[str, Any]:
    """Which choices mattered, and how each value of them did."""
    if not facts.space or not facts.trials:
        return {"chart": None, "tried": {}, "decisive": []}
    space = facts.space.choices
    trials = [trial for trial in facts.trials if trial.candidate.layout in space["layout"]]  # the user's own chose none
    found = importances(trials, space, int(facts.record["settings"]["seed"]))
    chart = charts.share_chart([(one.choice, one.share, one.chance) for one in found]) if found else None
    return {
        "chart": chart,
        "tried": tried_values(trials, space),
        "decisive": [one.choice for one in found if one.clear],
    }


def prompt_view(facts: RunFacts) -> dict[str, Any] | None:
    """The winner for reading and copying, what differs from the baseline marked, and one row as it is sent."""
    if "winner" not in facts.prompts:
        return None
    baseline, winner = facts.prompts["baseline"], facts.prompts["winner"]
    rows = [row.inputs for row in facts.rows[:1] if row.inputs.keys() == {field.name for field in winner.inputs}]
    sent = [message["content"] for row in rows for message in winner.messages(row)]  # none of a program's rows
    return {
        "pieces": word_diff(prompt_text(baseline), prompt_text(winner)),
        "plain": prompt_text(winner),
        "baseline": prompt_text(baseline),
        "openai": json.dumps(winner.to_openai(), indent=2, ensure_ascii=False),
        "sent": "\n\n".join(sent) or None,
        "nearest": winner.nearest,
        "layout": winner.layout,
        "id": winner.id,
        "same": winner.id == baseline.id,
    }
