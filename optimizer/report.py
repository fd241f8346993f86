"""report.html: what a run found, for looking at. Made from the run folder's files alone, while it runs and after."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optimizer import charts
from optimizer.browse import LABELS, of_run, views
from optimizer.cautions import cautions
from optimizer.charts import Interval, Point
from optimizer.errors import UserError
from optimizer.files import write_text
from optimizer.importance import importances, tried
from optimizer.marked import marked, prompt_text
from optimizer.page import render
from optimizer.pools import Pools
from optimizer.prompt import Prompt
from optimizer.rows import ARMS, Answered, read_rows
from optimizer.run import RunFolder
from optimizer.study import Trial


@dataclass(frozen=True)
class Facts:
    """What the run folder holds, as far as the run has come."""

    record: Mapping[str, Any]
    trials: Sequence[Trial]
    pools: Pools | None
    prompts: Mapping[str, Prompt]
    best: Mapping[str, Any] | None
    rows: Sequence[Answered]

    @property
    def chosen(self) -> str | None:
        """The id of the winner, or of the best so far."""
        return self.prompts["winner"].id if "winner" in self.prompts else None


def read(run: RunFolder) -> Facts:
    """The facts of a run, finished or not. Raises `UserError` for a folder that another version wrote otherwise."""
    try:
        pools, best = (load(path) if path.is_file() else None for path in (run.pools_path, run.best_path))
        return Facts(
            run.record,
            run.trials(),
            Pools.from_json(pools) if pools else None,
            run.prompts(),
            best,
            read_rows(run.test_path),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{run.path} cannot be read: {type(error).__name__} {error}.",
            f"It was written by promptstill {run.record['versions'].get('promptstill', 'of another version')}.",
            "Make the run again, or read it with that version.",
        ) from error


def write_report(run: RunFolder, *, running: bool = False) -> None:
    """Write report.html anew; while the run works the page reloads itself."""
    write_text(run.report_path, page(read(run), run.path.name, running=running))


def page(facts: Facts, run_name: str, *, running: bool) -> str:
    """The page as text."""
    test = facts.best["scores"]["test"] if facts.best else None
    return render(
        "report.html.jinja",
        run=run_name,
        running=running,
        record=facts.record,
        best=facts.best,
        test=test,
        arms=LABELS,
        cautions=cautions(facts.record, facts.best, facts.pools, facts.prompts.get("winner"), facts.rows),
        charts={**headline(test), **searched(facts)},
        trials=facts.trials,
        chosen=facts.chosen,
        choices=choices(facts),
        prompt=prompt_view(facts),
        rows=views([of_run(row) for row in facts.rows]),
        spent=facts.record.get("spent"),
        bought=sum(len(trial.scores) for trial in facts.trials),
        full=len(facts.trials) * facts.record["splits"]["dev"],
    )


def headline(test: Mapping[str, Any] | None) -> dict[str, Any]:
    """The intervals of the three prompts, and of the winner's gains over the other two."""
    if test is None:
        return {}
    scores = [interval(LABELS[arm], test[arm]["score"], arm) for arm in ARMS]
    gains = [("over seed", "over_seed"), ("over DSPy default", "over_dspy")]
    over = [interval(label, test["gains"][key], ink(test["gains"][key])) for label, key in gains]
    return {
        "scores": charts.intervals("scores", scores, "score on test, points, with 95 % interval"),
        "gains": charts.intervals("gains", over, "winner's gain, points, with 95 % interval", zero=True),
    }


def interval(label: str, value: Mapping[str, float], colour: str) -> Interval:
    return Interval(label, 100 * value["mean"], 100 * value["low"], 100 * value["high"], colour)


def ink(gain: Mapping[str, float]) -> str:
    """Green above zero, red below, grey where the interval holds it."""
    return "good" if gain["low"] > 0 else "bad" if gain["high"] < 0 else "seed"


def searched(facts: Facts) -> dict[str, Any]:
    """The charts of the search."""
    trials, rows = facts.trials, facts.record["splits"]["dev"]
    if not trials:
        return {}
    order = {id(trial): number for number, trial in enumerate(trials)}
    made = {
        "search": charts.search(
            points(facts, lambda trial: order[id(trial)]), [len(trial.scores) for trial in trials], rows
        ),
        "tokens": charts.tradeoff(
            "tokens", points(facts, lambda trial: trial.prompt_tokens), "prompt tokens a request"
        ),
    }
    if all(trial.seconds for trial in trials):
        waits = points(facts, lambda trial: trial.seconds)
        made["seconds"] = charts.tradeoff("seconds", waits, "median wait of a request under the search's load, s")
    return made


def points(facts: Facts, price: Any) -> list[Point]:
    """The trials at their price, those on the Pareto front of score and price marked."""
    front: set[int] = set()
    best = -1.0
    for trial in sorted(facts.trials, key=lambda t: (price(t), -t.value)):
        if not trial.lost and trial.value > best:
            front.add(id(trial))
            best = trial.value
    return [Point(price(t), 100 * t.value, t.lost, t.prompt_id == facts.chosen, id(t) in front) for t in facts.trials]


def choices(facts: Facts) -> dict[str, Any]:
    """Which choices mattered, and how each value of them did."""
    if not facts.pools or not facts.trials:
        return {"chart": None, "tried": {}, "told": []}
    space = facts.pools.space
    found = importances(facts.trials, space, int(facts.record["settings"]["seed"]))
    chart = charts.shares([(one.choice, one.share, one.chance) for one in found]) if found else None
    return {"chart": chart, "tried": tried(facts.trials, space), "told": [one.choice for one in found if one.clear]}


def prompt_view(facts: Facts) -> dict[str, Any] | None:
    """The winner for reading and copying, what differs from the seed marked, and one row as it is sent."""
    if "winner" not in facts.prompts:
        return None
    seed, winner = facts.prompts["seed"], facts.prompts["winner"]
    example = [m["content"] for m in winner.messages(facts.rows[0].inputs)] if facts.rows else None
    return {
        "pieces": marked(prompt_text(seed), prompt_text(winner)),
        "plain": prompt_text(winner),
        "seed": prompt_text(seed),
        "openai": json.dumps(winner.to_openai(), indent=2, ensure_ascii=False),
        "sent": "\n\n".join(example) if example else None,
        "nearest": winner.nearest,
        "layout": winner.layout,
        "id": winner.id,
        "same": winner.id == seed.id,
    }


def load(path: Path) -> Any:
    """The JSON of a file."""
    return json.loads(path.read_text(encoding="utf-8"))
