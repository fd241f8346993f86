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

from optimizer.budget import Budget, Meter
from optimizer.calls import SqliteCalls
from optimizer.client import Client, Endpoint
from optimizer.endpoints import Source, answering
from optimizer.errors import UserError
from optimizer.evaluate import Scored, score_rows
from optimizer.exits import run_async
from optimizer.files import file_digest
from optimizer.measure import reading
from optimizer.models import Say, cache_root
from optimizer.prepare import Prepared, prepare
from optimizer.prompt import Prompt, read_best
from optimizer.settings import Settings
from optimizer.shell import pasted
from optimizer.stats import Estimate, gain

FAILED = 3  # the exit code


@dataclass(frozen=True)
class Gate:
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
class Subject:
    """What is gated: the stored artifact, its prompt, and the dev rows that it was chosen by."""

    artifact: Mapping[str, Any]
    prompt: Prompt
    prepared: Prepared

    @property
    def seed(self) -> int:
        return int(self.artifact["search"]["seed"])


def gate(
    best_path: Path,
    recipe: str | None,
    parameters: Mapping[str, str],
    model: str | None,
    source: Source,
    max_drop: float,
    say: Say,
) -> Gate:
    """Score the prompt of best.json on its dev rows again, through `source`. Raises `UserError`."""
    subject = open_subject(best_path, recipe, parameters)
    name = model or str(subject.artifact["model"]["name"])
    served = source.model(name, say)
    if served.sha256 != subject.artifact["model"]["sha256"]:
        say(f"{name} is not known to be the weights on which this prompt was found: a change may come from them")
    prompt = subject.prompt.model_copy(update={"model": served.name})
    log_path = cache_root() / "logs" / "gate.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with answering(source, served, log_path, say) as (endpoint, _):
        say(f"asking {len(subject.prepared.splits.dev)} dev rows (usually under a minute)")
        results = run_async(ask(prompt, subject.prepared, endpoint))
    return judge(subject, results, max_drop)


def open_subject(best_path: Path, recipe: str | None, parameters: Mapping[str, str]) -> Subject:
    """best.json with its recipe, held together. Raises `UserError` where recipe, rows or scores are not to be had."""
    artifact = read_best(best_path)
    prompt = Prompt.from_artifact(artifact, str(best_path))
    stored = artifact["scores"]["dev"]
    if not stored.get("shipped_rows") and artifact["shipped"] != "winner":
        raise UserError(f"{best_path} holds no dev score of its prompt.", "", "Write it again with optimize.")
    recorded = artifact["recipe"]
    path = recipe or f"{find_recipe(best_path, recorded)}:{artifact['name']}"
    settings = Settings(
        recipe=path, parameters={**recorded["parameters"], **parameters}, seed=int(artifact["search"]["seed"])
    )
    prepared = prepare(settings)
    if prepared.loaded.sha256 != recorded["sha256"]:
        raise changed(best_path, str(prepared.loaded.path), "The recipe")
    if prepared.splits.digests()["dev"] != artifact["splits"]["sha256"]["dev"]:
        raise changed(best_path, str(prepared.loaded.path), "The dev rows")
    return Subject(artifact, prompt, prepared)


def find_recipe(best_path: Path, recorded: Mapping[str, Any]) -> Path:
    """The recipe where it was, or beside best.json if the two were moved; the unchanged one before another."""
    was, folder = Path(recorded["path"]), best_path.parent
    there = [path for path in (was, folder / was, folder / was.name) if path.is_file()]
    if not there:
        raise UserError(
            f"The recipe {was} of {best_path} is not there.",
            f"Nor is there a {was.name} in {folder}.",
            f"Say where it lies: {pasted('optimize', '--gate', best_path)} RECIPE.py",
        )
    return next((path for path in there if file_digest(path) == recorded["sha256"]), there[0])


def changed(best_path: Path, recipe: str, what: str) -> UserError:
    """The refusal to compare scores of two kinds."""
    again = pasted("optimize", Path(recipe))
    return UserError(
        f"{what} of {recipe} changed since {best_path} was made.",
        "Its stored scores are of what was there before.",
        f"Restore it, or make a new best.json: {again}",
    )


async def ask(prompt: Prompt, prepared: Prepared, endpoint: Endpoint) -> list[Scored]:
    """Every dev row's result; nothing stored is used."""
    with closing(SqliteCalls(Path(":memory:"))) as store:
        async with Client(endpoint, store, Meter(Budget(), {})) as client:
            return await score_rows(prompt, prepared.splits.dev, prepared.loaded.recipe.metric, client)


def judge(subject: Subject, results: Sequence[Scored], max_drop: float) -> Gate:
    """Paired by row where the row's score is stored, else mean against mean."""
    stored, recipe = subject.artifact["scores"]["dev"], subject.prepared.loaded.path
    known = stored.get("shipped_rows") or {}
    # Stored scores are rounded to six digits.
    again = [one for one in results if one.example.id in known]
    pairs = [(round(one.score, 6), float(known[one.example.id])) for one in again]
    if pairs:
        after, before = (list(scores) for scores in zip(*pairs, strict=True))
        change = gain(after, before, subject.seed, [one.example.group for one in again])
        n = len(pairs)
        return Gate(sum(before) / n, sum(after) / n, change.low, change.high, n, True, max_drop, recipe)
    then, now = Estimate(**stored["winner"]), reading(results, subject.seed).score
    wide = hypot((then.high - then.low) / 2, (now.high - now.low) / 2)
    change_by = now.mean - then.mean
    low, high = change_by - wide, change_by + wide
    return Gate(then.mean, now.mean, low, high, len(results), False, max_drop, recipe)
