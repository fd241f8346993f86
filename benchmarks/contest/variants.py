"""Variants of our search that the command has no option for, built from the library's parts.

    python -m benchmarks.contest.variants search JOB.json CAP

`no-demos` searches instructions and layouts alone; `random` draws its candidates without looking at earlier trials.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

from rich.console import Console

from benchmarks.contest.contestants import Job, argv
from benchmarks.contest.ours import TRIALS, Winner, step_by_step
from benchmarks.contest.proxy import Proxy
from optimizer.pipeline import Steps
from optimizer.run.folder import RunFolder
from optimizer.run.settings import SearchSettings
from optimizer.run.state import open_state
from optimizer.search.candidate import Candidate
from optimizer.search.forecast import TEST_PASSES
from optimizer.search.growth import SpaceGrowth
from optimizer.search.pace import Pace
from optimizer.search.playoff import play_off
from optimizer.search.search import Search
from optimizer.search.sources.bootstrap import NONE_REASONED
from optimizer.search.space import NO_DEMOS, Space
from optimizer.search.study import StoredStudy, Trial
from promptstill.command.listeners import LineListener
from promptstill.endpoint.allowance import Allowance, LimitReached, Limits
from promptstill.endpoint.client import Client
from promptstill.engine.source import open_endpoint
from promptstill.files import write_json
from promptstill.prompt.layouts.task import Task
from promptstill.prompt.prompt import Prompt

NO_DEMOS_VARIANT, RANDOM = "no-demos", "random"


def without_demos(space: Space) -> Space:
    """The same choices, with no demo in any: the sets without demos, and those that the first candidates name."""
    nearest = [name for name, one in space.demo_sets.items() if one.nearest][-1]
    wanted = {NO_DEMOS, NONE_REASONED, "labeled-0", "labeled-1", nearest}
    sets = {name: one for name, one in space.demo_sets.items() if name in wanted}
    return replace(space, demo_sets=sets, sizes=(0,), most_nearest=0)


class NoDemoGrowth(SpaceGrowth):
    """The same space with no demo in any choice."""

    def latest(self) -> Space:
        return without_demos(super().latest())


class RandomSearch(Search):
    """The same starters and races; the other candidates are drawn evenly from the space."""

    def suggest(self, history: Sequence[Trial], count: int, seed: str) -> list[Candidate]:
        rng = random.Random(seed)
        choices = {name: list(values) for name, values in self.task.space.choices.items()}
        draws = [{name: rng.choice(values) for name, values in choices.items()} for _ in range(count)]
        return [Candidate.from_params(params) for params in draws]


@dataclass(frozen=True)
class VariantSteps(Steps):
    """The steps of `optimize` up to the search's winner, with what the variant changes."""

    variant: str

    async def winner(self) -> Winner:
        prepared = await self._prepare(Pace(self.allowance))
        search_class = RandomSearch if self.variant == RANDOM else Search
        search = search_class(prepared.task, self.client, prepared.study, lambda task, progress: None, prepared.growth)
        outcome = await search.run()
        outcome = await play_off(search.task, outcome, self.client, lambda entrants, rows: None)
        return search.task.prompt(outcome.winner.candidate), mean(outcome.winner.scores.values())

    def _growth(self, task: Task, study: StoredStudy, pace: Pace) -> SpaceGrowth:
        growth = super()._growth(task, study, pace)
        if self.variant != NO_DEMOS_VARIANT:
            return growth
        return NoDemoGrowth(growth.study, growth.sources, growth.path, growth.say, growth.untimed)


async def find(job: Job, cap: int, listener: LineListener) -> Winner:
    """The variant's winner at a cap; calls and trials of a smaller cap are in the folder and used again."""
    settings = SearchSettings(
        recipe=job.recipe,
        parameters={"data": str(job.files.search_path)},
        model=job.model,
        base_url=job.base_url,
        seed=job.seed,
        trials=TRIALS,
        limits=Limits(calls=cap),
    )
    opened, model = settings.open_task(), settings.source.find_model(job.model, listener.say)
    run = RunFolder(Path(job.folder) / "run")
    run.logs_dir.mkdir(parents=True, exist_ok=True)
    with (
        open_state(settings, run, opened.name) as state,
        open_endpoint(settings.source, model, run.logs_dir / "engine.log", listener.say) as (endpoint, context),
    ):
        allowance = Allowance(settings.limits, state.calls.totals(), held=TEST_PASSES * len(opened.splits.test))
        async with Client(endpoint, state.calls, allowance) as client:
            steps = VariantSteps(
                opened, settings, client, context, model, run, listener, 0, state.study, job.contestant
            )
            return await steps.winner()


def search(job: Job, proxy: Proxy, caps: Sequence[int]) -> dict[str, Any]:
    """As `ours.search`, by this module's own command."""
    folder = Path(job.folder)

    def command(base_url: str, cap: int) -> list[str]:
        write_json(folder / "job.json", {**vars(job), "base_url": base_url})
        return argv("variants", "search", folder / "job.json", str(cap))

    def winner() -> Winner | None:
        if not (folder / "winner.json").is_file():
            return None
        stored = json.loads((folder / "winner.json").read_text(encoding="utf-8"))
        return Prompt.model_validate(stored["prompt"]), float(stored["dev"])

    return step_by_step(job, proxy, caps, command, winner)


def main() -> None:
    _, path, cap = sys.argv[1:]
    job, listener = Job.read(path), LineListener(Console(stderr=True))
    try:
        prompt, dev = asyncio.run(find(job, int(cap), listener))
    except LimitReached as reached:
        listener.say(f"{reached} is reached before any prompt was scored")
        return
    write_json(Path(job.folder) / "winner.json", {"prompt": prompt.model_dump(mode="json"), "dev": dev})


if __name__ == "__main__":
    main()
