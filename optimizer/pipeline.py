"""The steps of `optimize` that ask a model: probe, pools, search, the reading of test, the hand-off."""

from __future__ import annotations

import contextlib
import time
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from optimizer.artifact import artifact
from optimizer.budget import Meter
from optimizer.calls import SqliteCalls
from optimizer.client import Client, Endpoint
from optimizer.errors import BudgetReached, UserError
from optimizer.evaluate import score_rows
from optimizer.files import digest, write_json
from optimizer.finals import Outcome, pareto, play_off
from optimizer.forecast import READINGS, forecast, refuse_small
from optimizer.layouts import LAYOUTS, Task, dspy_default
from optimizer.measure import Verdict, judge, read_test, unread
from optimizer.models import Model, markers
from optimizer.pooling import Pooling
from optimizer.prepare import Prepared
from optimizer.probe import Abilities, constrains, probe
from optimizer.problem import Problem
from optimizer.progress import Watch
from optimizer.prompt import Prompt
from optimizer.rows import write_rows
from optimizer.run import RunFolder, now, spending
from optimizer.search import GENERATION, Progress, Search
from optimizer.settings import Settings
from optimizer.stats import estimate
from optimizer.study import StoredStudy


@dataclass(frozen=True)
class Result:
    """What a run came to. `verdict` is None where a budget, or another worker's part in it, left test unread."""

    run: RunFolder
    outcome: Outcome
    verdict: Verdict | None
    artifact: dict[str, Any] | None
    meter: Meter
    rows: int


async def optimize(
    prepared: Prepared,
    settings: Settings,
    served: tuple[Endpoint, int],
    model: Model,
    run: RunFolder,
    watch: Watch,
    worker: int,
) -> Result:
    """All steps that ask the model. What it cost is noted in run.json however it ends."""
    endpoint, context = served
    with closing(SqliteCalls(run.calls_path)) as store:
        meter = Meter(settings.budget, store.totals(), held=READINGS * len(prepared.splits.test))
        watch.meter = meter
        try:
            async with Client(endpoint, store, meter) as client:
                return await Steps(prepared, settings, client, context, model, run, watch, worker).run()
        finally:
            run.note(spent=spending(meter), ended_at=now())
            if worker == 0:
                draw(run)


def draw(run: RunFolder, *, running: bool = False) -> None:
    """Renew report.html. Matplotlib loads here, so that a run does not wait for it to begin."""
    from optimizer.report import write_report

    write_report(run, running=running)


def opening(search: Search) -> str:
    """What the first candidates race over, and what follows."""
    problem = search.problem
    count = min(GENERATION, problem.trials, len(problem.starters()))
    if (few := search.few_calls(count)) is not None:
        whole = f"over all of dev they may take {problem.rows_of(count):,}"
        return f"racing the first {count} candidates over the dev rows that {few:,} calls pay for; {whole}"
    more = "; the model proposes and bootstraps others after that" if problem.trials > GENERATION else ""
    return f"racing the first candidates over dev{more}"


@dataclass(frozen=True)
class Steps:
    """The steps of one run, each using what the ones before it made."""

    prepared: Prepared
    settings: Settings
    client: Client
    context: int
    model: Model
    run_folder: RunFolder
    watch: Watch
    worker: int

    async def run(self) -> Result:
        begun = time.monotonic()
        meter, test = self.client.meter, len(self.prepared.splits.test)
        fresh = not meter.total.calls
        served = [str(entry.get("id")) for entry in await self.client.models()]
        task = replace(self.prepared.task, model=self._served_name(served))
        structured = await constrains(self.client, task.model)
        task = replace(task, structured=structured, markers=markers(self.model))
        able = await probe(task, self.settings.layouts or LAYOUTS, self.prepared.splits.train[0], self.client)
        settings, splits, metric = self.settings, self.prepared.splits, self.prepared.loaded.recipe.metric
        if fresh:  # what an earlier part of the run paid for is scored already
            refuse_small(meter.budget.calls, meter.total.calls, len(splits.dev), test)
        for line in forecast(able, settings, len(splits.dev), test):
            self.watch.say(line)
        study = StoredStudy.open(settings.storage, self.run_folder.study_path, settings.study or self.prepared.name)
        recipe, identity = self.prepared.loaded.sha256, self.client.endpoint.identity
        study.bind(digest([recipe, splits.digests(), identity, settings.seed]))
        pooling = self._pooling(task, able, study)
        frozen = pooling.frozen()
        pools = frozen or pooling.given()
        task = replace(task, structured=pools.structured)
        problem = Problem(
            task,
            pools,
            splits.train,
            splits.dev,
            metric,
            settings.seed,
            settings.trials,
            self._study_worker(),
            settings.race,
        )
        if not fresh:
            meter.held = unread(task, problem.prompt(problem.starters()[0]), splits.test, self.client)
        self.watch.begin(settings.trials)
        search = Search(problem, self.client, study, partial(self._follow, study), pooling)
        if frozen is None:
            self.watch.say(opening(search))
        outcome = await search.run()
        problem = search.problem
        if self.worker > 0:
            self.watch.rest()
            return Result(self.run_folder, outcome, None, None, self.client.meter, len(splits.dev))
        outcome = await play_off(problem, outcome, self.client, partial(self._tell_play_off, outcome.stopped))
        self.watch.rest()
        self.run_folder.write_trials(outcome.trials, outcome.winner.prompt_id)
        seed_prompt, winner = problem.prompt(problem.starters()[0]), problem.prompt(outcome.winner.params)
        self.run_folder.write_prompts(seed=seed_prompt, dspy=dspy_default(task), winner=winner)
        verdict = await self._verdict(task, seed_prompt, winner, outcome)
        if verdict:
            write_rows(self.run_folder.test_path, verdict)
        shipped = winner if verdict and verdict.shipped == "winner" else seed_prompt
        made = artifact(
            loaded=self.prepared.loaded,
            model=self.model,
            prompt=shipped,
            run=self.run_folder,
            dev=await self._dev(problem, outcome, shipped),
            verdict=verdict,
            search=self._found(outcome, begun),
        )
        write_json(self.run_folder.best_path, made)
        self.run_folder.note(search=made["search"], best=shipped.id, shipped=made["shipped"])
        return Result(self.run_folder, outcome, verdict, made, self.client.meter, len(splits.dev))

    def _pooling(self, task: Task, able: Abilities, study: StoredStudy) -> Pooling:
        path = self.run_folder.pools_path
        return Pooling(self.prepared, self.settings, task, able, self.context, self.client, study, path, self.watch)

    def _follow(self, study: StoredStudy, problem: Problem, progress: Progress) -> None:
        """After each generation: tell the terminal, and show in the run folder what there is so far."""
        self.watch.follow(progress)
        if self.worker > 0 or progress.best is None:
            return
        seed_prompt, best = problem.prompt(problem.starters()[0]), problem.prompt(progress.best.params)
        self.run_folder.write_trials(study.trials(), best.id)
        self.run_folder.write_prompts(seed=seed_prompt, winner=best)
        draw(self.run_folder, running=True)

    def _tell_play_off(self, stopped: str | None, entrants: int, rows: int) -> None:
        """That the finalists meet once more, and how long that takes at most."""
        limit = f", as far as {stopped} allows" if stopped else self.watch.forecast(entrants * rows)
        self.watch.say(f"dev cannot tell {entrants} finalists apart: they meet on {rows} train rows new to them{limit}")

    def _found(self, outcome: Outcome, begun: float) -> dict[str, Any]:
        """What the search did, for best.json and run.json."""
        return {
            "seed": self.settings.seed,
            "trials": len(outcome.trials),
            "rows_bought": sum(len(trial.scores) for trial in outcome.trials),
            "rows_of_full_evaluation": len(outcome.trials) * len(self.prepared.splits.dev),
            "stopped": outcome.stopped,
            "spent": spending(self.client.meter),
            "seconds": round(time.monotonic() - begun, 1),
            "winner": dict(outcome.winner.params),
            "playoff": [asdict(played) for played in outcome.playoff],
            "pareto": [{"score": t.value, "tokens": t.tokens, **t.params} for t in pareto(outcome.finalists)],
        }

    async def _dev(self, problem: Problem, outcome: Outcome, shipped: Prompt) -> dict[str, Any]:
        """The dev scores: the winner's estimate, and the shipped prompt's by row, for `optimize --gate`.

        A seed prompt that lost its race early is scored on the rest now, if the budget allows.
        """
        trials = [*outcome.finalists, *outcome.trials]
        scores = next((t.scores for t in trials if t.prompt_id == shipped.id), {})
        if len(scores) < len(problem.dev):
            with contextlib.suppress(BudgetReached):
                results = await score_rows(shipped, problem.dev, problem.metric, self.client)
                scores = {row: result.score for row, result in enumerate(results)}
        winner = outcome.winner.scores
        groups = [problem.dev[row].group for row in winner]
        return {
            "winner": asdict(estimate(list(winner.values()), self.settings.seed, groups)),
            "shipped_rows": {problem.dev[row].id: round(scores[row], 6) for row in sorted(scores)},
        }

    def _study_worker(self) -> int:
        """This process's number in the study: in a shared storage, one that no other run has."""
        if self.settings.storage is None:
            return self.worker
        return int(digest(self.run_folder.path.name)[:10], 16) + self.worker + 1

    async def _verdict(self, task: Task, seed_prompt: Prompt, winner: Prompt, outcome: Outcome) -> Verdict | None:
        """The reading of test, or None where a hard budget forbids even that."""
        rows, metric = self.prepared.splits.test, self.prepared.loaded.recipe.metric
        pace = self.watch.forecast(self.client.meter.held)
        self.client.meter.held = 0
        self.watch.say(f"reading test: seed, DSPy default and winner on {len(rows)} rows{pace}")
        try:
            readings = await read_test(task, (seed_prompt, winner), rows, metric, self.client, seed=self.settings.seed)
            verdict = judge(readings, outcome.winner.value, self.settings.seed)
            return replace(verdict, winners=self.run_folder.measured(winner.id))
        except BudgetReached as reached:
            self.watch.say(f"test could not be read: {reached} is reached")
            return None

    def _served_name(self, served: list[str]) -> str:
        """The model's name at the endpoint. Raises `UserError` listing what it serves."""
        wanted = self.model.name
        if wanted in served or not served:
            return wanted
        raise UserError(
            f"The endpoint does not serve {wanted}.", f"It serves {', '.join(served[:20])}.", "Name one with --model."
        )
