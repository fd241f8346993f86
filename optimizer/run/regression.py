"""`optimize --gate`: does a prompt under version control still score on dev what it scored when it was found?

Every dev row is asked anew and held against the row's own stored score. The gate fails where two things hold together:
the mean fell by more than the allowed drop, and the 95 % interval of the paired difference lies below
zero. So neither noise nor a trifle fails a build. For a best.json that holds no scores by row the interval is that of
two independent means, which sees less. Test is never read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from math import hypot
from pathlib import Path
from typing import Any

from promptstill.command.exits import run_async
from promptstill.endpoint.allowance import Allowance
from promptstill.endpoint.client import Client, Endpoint
from promptstill.endpoint.stores import MEMORY, open_calls
from promptstill.engine.models import cache_root
from promptstill.engine.source import ModelSource, open_endpoint
from promptstill.errors import UserError
from promptstill.events import Say
from promptstill.files import file_digest
from promptstill.prompt.artifact import read_best
from promptstill.prompt.prompt import Prompt
from promptstill.scoring.evaluate import ScoredRow, score_rows
from promptstill.scoring.test_report import summarize_results
from promptstill.shell import command_line
from promptstill.stats import Estimate, gain
from promptstill.task.open import OpenTask, open_task

REGRESSED = 3  # the exit code


@dataclass(frozen=True)
class RegressionCheck:
    """The dev score then and now, from 0 to 1, and the interval of the change over `n` rows of `recipe`."""

    before: float
    after: float
    low: float
    high: float
    n: int
    paired: bool
    max_drop: float
    recipe: Path

    @property
    def failed(self) -> bool:
        return self.before - self.after > self.max_drop and self.high < 0

    def lines(self) -> list[str]:
        """The outcome and the test, for the terminal."""
        change, how = self.after - self.before, "paired" if self.paired else "unpaired"
        said = (
            f"{100 * change:+.1f} points on {self.n} dev rows, {how} 95 % interval "
            f"{100 * self.low:+.1f} to {100 * self.high:+.1f}"
        )
        rule = f"A drop fails when it is over {100 * self.max_drop:g} points and its interval lies below zero."
        return [
            f"{'FAILED' if self.failed else 'passed'}: {100 * self.before:.1f} when found, {100 * self.after:.1f} now",
            said,
            rule,
        ]


@dataclass(frozen=True)
class StoredPrompt:
    """What is gated: the stored artifact, its prompt, and the dev rows that it was chosen by."""

    artifact: Mapping[str, Any]
    prompt: Prompt
    prepared: OpenTask

    @property
    def seed(self) -> int:
        return int(self.artifact["search"]["seed"])


def check_regression(
    best_path: Path,
    recipe: str | None,
    parameters: Mapping[str, str],
    model: str | None,
    source: ModelSource,
    max_drop: float,
    say: Say,
) -> RegressionCheck:
    """Score the prompt of best.json on its dev rows again, through `source`. Raises `UserError`."""
    subject = open_stored(best_path, recipe, parameters)
    name = model or str(subject.artifact["model"]["name"])
    served = source.find_model(name, say)
    if served.sha256 != subject.artifact["model"]["sha256"]:
        say(f"{name} is not known to be the weights on which this prompt was found: a change may come from them")
    prompt = subject.prompt.model_copy(update={"model": served.name})
    log_path = cache_root() / "logs" / "gate.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with open_endpoint(source, served, log_path, say) as (endpoint, _):
        say(f"asking {len(subject.prepared.splits.dev)} dev rows (usually under a minute)")
        results = run_async(score_dev(prompt, subject.prepared, endpoint))
    return compare_with_stored(subject, results, max_drop)


def open_stored(best_path: Path, recipe: str | None, parameters: Mapping[str, str]) -> StoredPrompt:
    """best.json with its recipe, held together. Raises `UserError` where recipe, rows or scores are not to be had."""
    artifact = read_best(best_path)
    prompt = Prompt.from_artifact(artifact, str(best_path))
    stored = artifact["scores"]["dev"]
    if not stored.get("shipped_rows") and artifact["shipped"] != "winner":
        raise UserError(f"{best_path} holds no dev score of its prompt.", "", "Write it again with optimize.")
    recorded = artifact["recipe"]
    path = recipe or f"{find_recipe(best_path, recorded)}:{artifact['name']}"
    seed = int(artifact["search"]["seed"])
    prepared = open_task(path, {**recorded["parameters"], **parameters}, seed=seed)
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


async def score_dev(prompt: Prompt, prepared: OpenTask, endpoint: Endpoint) -> list[ScoredRow]:
    """Every dev row's result; nothing stored is used."""
    with closing(open_calls(MEMORY)) as store:
        async with Client(endpoint, store, Allowance()) as client:
            return await score_rows(prompt, prepared.splits.dev, prepared.recipe.metric, client)


def compare_with_stored(subject: StoredPrompt, results: Sequence[ScoredRow], max_drop: float) -> RegressionCheck:
    """Paired by row where the row's score is stored, else mean against mean."""
    stored, recipe = subject.artifact["scores"]["dev"], subject.prepared.recipe_file.path
    known = stored.get("shipped_rows") or {}
    # Stored scores are rounded to six digits.
    again = [one for one in results if one.example.id in known]
    pairs = [(round(one.score, 6), float(known[one.example.id])) for one in again]
    if pairs:
        after, before = (list(scores) for scores in zip(*pairs, strict=True))
        paired = gain(after, before, subject.seed, [one.example.group for one in again])
        n = len(pairs)
        return RegressionCheck(sum(before) / n, sum(after) / n, paired.low, paired.high, n, True, max_drop, recipe)
    then, now = Estimate(**stored["winner"]), summarize_results(results, subject.seed).score
    wide = hypot((then.high - then.low) / 2, (now.high - now.low) / 2)
    change = now.mean - then.mean
    return RegressionCheck(then.mean, now.mean, change - wide, change + wide, len(results), False, max_drop, recipe)
