"""`optimize --gate`: does a prompt under version control still score on dev what it scored before?

Every dev row is asked anew. The dev scores of the search are a poor thing to hold this against: by them the prompt was
chosen among many, so where replies vary they hold its luck, and a prompt that is as good as ever seems to drop. So the
first gate that passes stores its own scores in best.json (`scores.dev.gate_rows`), and later gates are held against
these, row by row: they chose nothing. A search asks no row more for it.

As long as there are no such scores, a drop must show twice: against the prompt's dev scores of the search, row by row,
and against its test score, which did not choose it among the many either. The second sees less, since the rows
are others; the first is there since dev may be harder than test.

A drop is more than the allowed one in the mean, with the 95 % interval of the change below zero. So neither noise nor a
trifle fails a build; nor do dev rows of fewer than five effective groups, which cannot tell. Test rows are never asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from math import hypot
from pathlib import Path
from typing import Any

import numpy as np

from optimizer.search.baseline import unseen_rows
from promptstill.command.exits import run_async
from promptstill.endpoint.allowance import Allowance
from promptstill.endpoint.client import Client
from promptstill.endpoint.endpoint import Endpoint
from promptstill.endpoint.stores import MEMORY, open_calls
from promptstill.engine.models import cache_root
from promptstill.engine.source import ModelSource, open_endpoint
from promptstill.errors import UserError
from promptstill.events import Say
from promptstill.files import file_digest, write_json
from promptstill.prompt.artifact import read_best
from promptstill.prompt.prompt import Prompt
from promptstill.scoring.evaluate import ScoredRow, score_rows
from promptstill.scoring.test_report import group_note, summarize_results
from promptstill.shell import command_line
from promptstill.stats import MIN_GROUPS, Estimate, effective_groups, gain_interval
from promptstill.task.examples import Example
from promptstill.task.judge import refuse_other_judge
from promptstill.task.open import OpenTask, open_task

REGRESSED = 3  # the exit code
FIRST_GATE, SEARCH, TEST = "at the first gate", "in the search", "on test"  # what a score is held against


@dataclass(frozen=True)
class Comparison:
    """The score before and on dev now, from 0 to 1, and the interval of the change. reference: what `before` is.
    n: dev rows. paired: whether the change is by row. groups: the effective number of their groups.
    note: what a reader should know besides."""

    reference: str
    before: float
    after: float
    low: float
    high: float
    n: int
    paired: bool
    groups: float
    note: str = ""

    def dropped(self, max_drop: float) -> bool:
        return self.before - self.after > max_drop and self.high < 0 and self.groups >= MIN_GROUPS

    @property
    def line(self) -> str:
        change, how = self.after - self.before, "paired" if self.paired else "unpaired"
        return (
            f"{100 * change:+.1f} points on {self.n} dev rows, {how} 95 % interval "
            f"{100 * self.low:+.1f} to {100 * self.high:+.1f}, from {100 * self.before:.1f} {self.reference}{self.note}"
        )


@dataclass(frozen=True)
class RegressionCheck:
    """What a gate came to. stored: whether the next one is held against these scores for the first time."""

    comparisons: Sequence[Comparison]
    max_drop: float
    recipe: Path
    stored: bool = False

    @property
    def failed(self) -> bool:
        return all(one.dropped(self.max_drop) for one in self.comparisons)

    def lines(self) -> list[str]:
        """The outcome and the test, for the terminal."""
        first, both = self.comparisons[0], ", in both" if len(self.comparisons) > 1 else ""
        scores = f"{100 * first.before:.1f} {first.reference}, {100 * first.after:.1f} now"
        rule = f"A drop fails when it is over {100 * self.max_drop:g} points and its interval lies below zero{both}."
        outcome = [f"{'FAILED' if self.failed else 'passed'}: {scores}", *(one.line for one in self.comparisons), rule]
        note = group_note(first.n, first.groups, "dev row")
        return [*outcome, *([f"{note} So no drop can fail here."] if note else [])]


@dataclass(frozen=True)
class StoredPrompt:
    """What is gated: the stored artifact, its prompt, and the dev rows that it was chosen by."""

    artifact: Mapping[str, Any]
    prompt: Prompt
    prepared: OpenTask

    @property
    def rows(self) -> list[Example]:
        """The dev rows; of a cross-validated run those that the prompt does not show."""
        splits = self.prepared.splits
        return unseen_rows(self.prompt, splits.dev, shared=splits.shared)


def check_regression(
    best_path: Path,
    recipe: str | None,
    parameters: Mapping[str, str],
    model: str | None,
    source: ModelSource,
    max_drop: float,
    say: Say,
) -> RegressionCheck:
    """Score the prompt of best.json on its dev rows again, through `source`. Raises `UserError`.

    Within `judges_at` another judge marks than the recipe's; it must be the one that best.json records.
    """
    subject = open_stored(best_path, recipe, parameters)
    recorded = subject.artifact["model"]
    name = model or str(recorded["name"])
    if name == recorded["name"]:
        source = source.as_recorded(recorded, str(best_path))
    source = source.of_model(name)
    served = source.find_model(name, say)
    if served.sha256 != recorded["sha256"]:
        say(f"{name} is not known to be the weights on which this prompt was found: a change may come from them")
    prompt = subject.prompt.model_copy(update={"model": served.name})
    log_path = cache_root() / "logs" / "gate.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with open_endpoint(source, served, log_path, say) as (endpoint, _):
        say(f"asking {len(subject.rows)} dev rows (usually under a minute)")
        results = run_async(score_dev(prompt, subject, endpoint))
    compared = compare_with_stored(subject.artifact, results)
    check = RegressionCheck(compared, max_drop, subject.prepared.recipe_file.path)
    same = served.name == subject.prompt.model and served.sha256 == recorded["sha256"]
    if check.failed or not same or compared[0].reference == FIRST_GATE:
        return check
    return replace(check, stored=store_scores(best_path, subject.artifact, results, say))


def store_scores(best_path: Path, artifact: Mapping[str, Any], results: Sequence[ScoredRow], say: Say) -> bool:
    """Write the scores into best.json, for the gates to come; whether that was possible."""
    rows = {one.example.id: round(one.score, 6) for one in results}
    scores = {**artifact["scores"], "dev": {**artifact["scores"]["dev"], "gate_rows": rows}}
    try:
        write_json(best_path, {**artifact, "scores": scores})
    except OSError as error:
        say(f"{best_path} cannot be written, so the next gate is a first one again: {error}")
        return False
    return True


def open_stored(best_path: Path, recipe: str | None, parameters: Mapping[str, str]) -> StoredPrompt:
    """best.json with its recipe, held together. Raises `UserError` where recipe, rows or scores are not to be had."""
    artifact = read_best(best_path)
    refuse_other_judge(artifact.get("judge"), best_path)
    prompt = Prompt.from_artifact(artifact, str(best_path))
    stored = artifact["scores"]["dev"]
    if not stored.get("shipped_rows") and artifact["shipped"] != "winner":
        raise UserError(f"{best_path} holds no dev score of its prompt.", "", "Write it again with optimize.")
    recorded = artifact["recipe"]
    path = recipe or f"{find_recipe(best_path, recorded)}:{artifact['name']}"
    split_seed, folds = int(artifact["splits"]["seed"]), int(artifact["splits"].get("folds", 0))
    prepared = open_task(path, {**recorded["parameters"], **parameters}, split_seed=split_seed, folds=folds)
    if prepared.recipe_file.sha256 != recorded["sha256"]:
        raise changed_error(best_path, str(prepared.recipe_file.path), "The recipe")
    if prepared.splits.digests()["dev"] != artifact["splits"]["sha256"]["dev"]:
        raise changed_error(best_path, str(prepared.recipe_file.path), "The dev rows")
    return StoredPrompt(artifact, prompt, prepared)


def find_recipe(best_path: Path, recorded: Mapping[str, Any]) -> Path:
    """The recipe where it was, or beside best.json if the two were moved; the unchanged one before another."""
    was, folder = Path(recorded["path"]), best_path.parent
    there = [path for path in (was, folder / was, folder / was.name) if path.is_file()]
    if not there:
        raise UserError(
            f"The recipe {was} of {best_path} is not there.",
            f"Nor is there a {was.name} in {folder}.",
            f"Say where it lies: {command_line('optimize', '--gate', best_path)} RECIPE.py",
        )
    return next((path for path in there if file_digest(path) == recorded["sha256"]), there[0])


def changed_error(best_path: Path, recipe: str, what: str) -> UserError:
    """The refusal to compare scores of two kinds."""
    again = command_line("optimize", Path(recipe))
    return UserError(
        f"{what} of {recipe} changed since {best_path} was made.",
        "Its stored scores are of what was there before.",
        f"Restore it, or make a new best.json: {again}",
    )


async def score_dev(prompt: Prompt, subject: StoredPrompt, endpoint: Endpoint) -> list[ScoredRow]:
    """Every dev row's result; nothing stored is used."""
    with closing(open_calls(MEMORY)) as store:
        draws = int(subject.artifact["search"].get("draws", 1))
        async with Client(endpoint, store, Allowance(), draws=draws) as client:
            return await score_rows(prompt, subject.rows, subject.prepared.recipe.metric, client)


def compare_with_stored(artifact: Mapping[str, Any], results: Sequence[ScoredRow]) -> list[Comparison]:
    """The scores of now against those of the first gate; before there are any, against the search's and test's."""
    seed, dev, test = int(artifact["search"]["seed"]), artifact["scores"]["dev"], artifact["scores"].get("test") or {}
    if gated := compare_rows(dev.get("gate_rows") or {}, results, FIRST_GATE):
        return [gated]
    now = summarize_results(results, seed).score
    groups = effective_groups([one.example.group for one in results], len(results))
    searched = compare_rows(dev.get("shipped_rows") or {}, results, SEARCH)
    compared = [searched or compare_means(Estimate(**dev["winner"]), now, SEARCH, groups)]
    if report := test.get(artifact["shipped"]):
        compared.append(compare_means(Estimate(**report["score"]), now, TEST, groups))
    return compared


def compare_rows(known: Mapping[str, float], results: Sequence[ScoredRow], reference: str) -> Comparison | None:
    """Paired by row, over the rows whose score is known; None where none is."""
    again = [one for one in results if one.example.id in known]
    if not again:
        return None
    # Stored scores are rounded to six digits.
    after, before = [round(one.score, 6) for one in again], [float(known[one.example.id]) for one in again]
    groups = [one.example.group for one in again]
    low, high = gain_interval(np.subtract(after, before), groups)
    n = len(again)
    note = " (rows right, not the metric of the whole split)" if again[0].labels else ""
    return Comparison(reference, sum(before) / n, sum(after) / n, low, high, n, True, effective_groups(groups, n), note)


def compare_means(then: Estimate, now: Estimate, reference: str, groups: float) -> Comparison:
    """Two independent means."""
    wide = hypot((then.high - then.low) / 2, (now.high - now.low) / 2)
    change = now.mean - then.mean
    return Comparison(reference, then.mean, now.mean, change - wide, change + wide, now.n, False, groups)
