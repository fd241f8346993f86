"""A search for each of several models, one after another, and what they came to side by side.

Each is a run of its own with limits of its own, and goes on alone after a kill. All models are asked for before the
first search begins, so that a misspelt name costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from optimizer.command.summary import gain_text, points
from optimizer.launch import refuse_unserved
from optimizer.run.result import RunResult
from optimizer.run.settings import SearchSettings
from promptstill.endpoint.url import split_model
from promptstill.errors import PromptstillError, UserError
from promptstill.events import Say
from promptstill.scoring.compare import Marks, difference
from promptstill.scoring.test_report import TestReport, bonferroni_note
from promptstill.shell import command_line, short_path


@dataclass(frozen=True)
class ModelSearch:
    """One model's search. label: the model as the user named it. output: where its best prompt goes."""

    label: str
    settings: SearchSettings
    output: Path


@dataclass(frozen=True)
class Found:
    """A search that has read test."""

    search: ModelSearch
    result: RunResult
    report: TestReport  # on test, of the prompt in its best.json
    dev: float  # that prompt's dev score, from 0 to 1

    @property
    def marks(self) -> Marks:
        return self.report.marks


def plan_searches(settings: SearchSettings, models: Sequence[str], output: Path) -> list[ModelSearch]:
    """The searches. models: `MODEL` or `MODEL@URL`. output: best.json becomes best-MODEL.json. Raises `UserError`."""
    if settings.storage is not None:
        raise UserError(
            "--storage is for one --model.",
            "A study holds the trials of one model.",
            "Give a command for each model, each with a --study of its own.",
        )
    planned: list[ModelSearch] = []
    for label in dict.fromkeys(models):
        name, url = split_model(label)
        own = replace(settings, model=name, base_url=url or settings.base_url)
        taken = {one.output for one in planned}
        planned.append(ModelSearch(label, own, free_name(output, name, taken)))
    return planned


def free_name(output: Path, model: str, taken: set[Path]) -> Path:
    """best.json as best-MODEL.json; numbered where another has that name."""
    word = re.sub(r"[^\w.-]+", "-", Path(model).name).strip("-") or "model"
    names = (f"{output.stem}-{word}{number}{output.suffix}" for number in ("", *(f"-{n}" for n in range(2, 1000))))
    return next(path for path in map(output.with_name, names) if path not in taken)


def refuse_absent(searches: Sequence[ModelSearch], say: Say) -> None:
    """Raises as `run_search` does where the recipe is not in order or a model is not to be had."""
    opened = searches[0].settings.open_task()
    for one in searches:
        settings = one.settings.at_provider(opened.recipe.model)
        refuse_unserved(settings.source, settings.find_model(opened, say), say)


def search_models(
    searches: Sequence[ModelSearch], search: Callable[[ModelSearch], RunResult | None], say: Say
) -> list[Found]:
    """Every search in turn; those that have read test. What ends one ends all, and is raised."""
    found: list[Found] = []
    for number, one in enumerate(searches):
        say(f"search {number + 1} of {len(searches)}, with limits of its own: {one.label}")
        try:
            result = search(one)
        except (KeyboardInterrupt, PromptstillError):
            for line in where_it_stands(found, searches[number + 1 :]):
                say(line)
            raise
        if result and result.verdict and result.best:
            report, dev = result.verdict.reports[result.verdict.shipped], shipped_dev(result.best)
            found.append(Found(one, result, report, dev))
    return found


def shipped_dev(best: Mapping[str, Any]) -> float:
    """The dev score of the prompt in a best.json; the winner's where that prompt has none."""
    scores = best["scores"]["dev"]
    rows = list(scores["shipped_rows"].values())
    return float(sum(rows) / len(rows) if rows else scores["winner"]["mean"])


def where_it_stands(found: Sequence[Found], ahead: Sequence[ModelSearch]) -> list[str]:
    """What is done and what has not begun, when a search ends the others."""
    done = [f"done: {one.search.label}, in {short_path(one.search.output)}" for one in found]
    lines = [*done, *(f"not begun: {one.label}" for one in ahead)]
    if not found:
        return lines
    runs = [one.result.run.path for one in found]
    return [*lines, f"to compare them at the end: {command_line('optimize', '--compare', *runs)} RUN…"]


def best_lines(found: Sequence[Found]) -> list[str]:
    """Which model's best.json scores highest on dev, what test says of it and the next, and the p-value after so many.

    Dev chooses: the highest of several on test looks better than it is.
    """
    best, second = sorted(found, key=lambda one: -one.dev)[:2]
    over = difference(best.marks, second.marks, best.result.settings.seed)
    winners = max(one.result.verdict.winners for one in found if one.result.verdict)
    name, other = short_path(best.search.output), short_path(second.search.output)
    dev, test = points(best.dev), points(best.report.score.mean)
    return [
        f"best on dev: {name} on {best.search.label}, {dev} there and {test} on test",
        f"on test over the next, {other} on {second.search.label}: {gain_text(over)}",
        *([] if over.holds(winners) else ["Test cannot tell these two apart beyond doubt."]),
        bonferroni_note(over.p, winners, over="the next"),
    ]
