"""Variants of our search that the command has no option for, built from the library's parts.

    python -m benchmarks.search_variants search JOB.json CAP

`no-demos` searches instructions and layouts alone; `random` draws its candidates without looking at earlier trials.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

from rich.console import Console

from benchmarks.contestant_ours import TRIALS, Won, step_by_step
from benchmarks.contestants import Job, argv
from benchmarks.proxy import Proxy
from optimizer.budget import Budget, Meter
from optimizer.calls import SqliteCalls
from optimizer.client import Client
from optimizer.endpoints import answering
from optimizer.errors import BudgetReached
from optimizer.files import write_json
from optimizer.finals import play_off
from optimizer.forecast import READINGS
from optimizer.layouts import LAYOUTS
from optimizer.models import markers
from optimizer.pipeline import Steps
from optimizer.pooling import Pooling
from optimizer.pools import NO_DEMOS, NONE_REASONED, Pools
from optimizer.prepare import prepare
from optimizer.probe import constrains, probe
from optimizer.problem import Problem
from optimizer.progress import Watch
from optimizer.prompt import Prompt
from optimizer.run import RunFolder
from optimizer.search import Filling, Search
from optimizer.settings import Settings
from optimizer.study import StoredStudy, Trial

NO_DEMOS_VARIANT, RANDOM = "no-demos", "random"


def without_demos(pools: Pools) -> Pools:
    """The same choices with no demo in any: only sets without demos are left, and those that the starters name."""
    nearest = [name for name, one in pools.demo_sets.items() if one.nearest][-1]
    kept = {NO_DEMOS, NONE_REASONED, "labeled-0", "labeled-1", nearest}
    sets = {name: one for name, one in pools.demo_sets.items() if name in kept}
    return replace(pools, demo_sets=sets, sizes=(0,), most_nearest=0)


@dataclass(frozen=True)
class Demoless:
    """The same pools with no demo in any."""

    pooling: Pooling

    @property
    def most_calls(self) -> int:
        return self.pooling.most_calls

    def frozen(self) -> Pools | None:
        pools = self.pooling.frozen()
        return pools and without_demos(pools)

    async def fill(self) -> Pools:
        return without_demos(await self.pooling.fill())


class RandomSearch(Search):
    """The same starters and races; the other candidates are drawn evenly from the space."""

    def suggested(self, history: Sequence[Trial], count: int, seed: str) -> list[dict[str, str | int]]:
        rng = random.Random(seed)
        space = {name: list(choices) for name, choices in self.problem.space.items()}
        return [{name: rng.choice(choices) for name, choices in space.items()} for _ in range(count)]


class VariantSteps(Steps):
    """The steps of `optimize` up to the search's winner, with what the variant changes."""

    async def winner(self, variant: str) -> tuple[Prompt, float]:
        task = replace(self.prepared.task, structured=await constrains(self.client, self.model.name))
        task = replace(task, markers=markers(self.model))
        able = await probe(task, LAYOUTS, self.prepared.splits.train[0], self.client)
        study = StoredStudy.open(None, self.run_folder.study_path, variant)
        recipe, splits, settings = self.prepared.loaded.recipe, self.prepared.splits, self.settings
        pooling = self._pooling(task, able, study)
        pools = pooling.frozen() or pooling.given()
        filling: Filling = pooling
        if variant == NO_DEMOS_VARIANT:
            pools, filling = without_demos(pools), Demoless(pooling)
        problem = Problem(task, pools, splits.train, splits.dev, recipe.metric, settings.seed, settings.trials)
        kind = RandomSearch if variant == RANDOM else Search
        search = kind(problem, self.client, study, lambda problem, progress: None, filling)
        outcome = await search.run()
        outcome = await play_off(search.problem, outcome, self.client, lambda entrants, rows: None)
        return search.problem.prompt(outcome.winner.params), mean(outcome.winner.scores.values())


async def find(job: Job, cap: int, watch: Watch) -> tuple[Prompt, float]:
    """The variant's winner at a cap; calls and trials of a smaller cap are in the folder and used again."""
    parameters, budget = {"data": str(job.field.search_path)}, Budget(calls=cap)
    settings = Settings(
        recipe=job.recipe,
        parameters=parameters,
        model=job.model,
        base_url=job.base_url,
        seed=job.seed,
        trials=TRIALS,
        budget=budget,
    )
    prepared, model = prepare(settings), settings.source.model(job.model, watch.say)
    run = RunFolder(Path(job.folder) / "run")
    run.logs_dir.mkdir(parents=True, exist_ok=True)
    with (
        closing(SqliteCalls(run.calls_path)) as store,
        answering(settings.source, model, run.logs_dir / "engine.log", watch.say) as (endpoint, context),
    ):
        meter = Meter(budget, store.totals(), held=READINGS * len(prepared.splits.test))
        async with Client(endpoint, store, meter) as client:
            steps = VariantSteps(prepared, settings, client, context, model, run, watch, 0)
            return await steps.winner(job.contestant)


def search(job: Job, proxy: Proxy, caps: Sequence[int]) -> dict[str, Any]:
    """As `contestant_ours.search`, by this module's own command."""
    folder = Path(job.folder)

    def command(base_url: str, cap: int) -> list[str]:
        write_json(folder / "job.json", {**vars(job), "base_url": base_url})
        return argv("search_variants", "search", folder / "job.json", str(cap))

    def winner() -> Won | None:
        if not (folder / "winner.json").is_file():
            return None
        won = json.loads((folder / "winner.json").read_text(encoding="utf-8"))
        return Prompt.model_validate(won["prompt"]), float(won["dev"])

    return step_by_step(job, proxy, caps, command, winner)


def main() -> None:
    _, path, cap = sys.argv[1:]
    job = Job.read(path)
    with Watch(Console(stderr=True)) as watch:
        try:
            prompt, dev = asyncio.run(find(job, int(cap), watch))
        except BudgetReached as reached:
            watch.say(f"{reached} is reached before any prompt was scored")
            return
    write_json(Path(job.folder) / "winner.json", {"prompt": prompt.model_dump(mode="json"), "dev": dev})


if __name__ == "__main__":
    main()
