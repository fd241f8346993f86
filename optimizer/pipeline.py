"""The steps of `optimize` that ask a model: a search, or one for each fold and one over all rows; then test."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from optimizer.confidence import confidence
from optimizer.folds import Folds, open_folds
from optimizer.one_search import Found, OneSearch
from optimizer.rivals import add_rivals
from optimizer.run.artifact import dev_scores, first_fold_record, search_record, to_artifact, write_pareto
from optimizer.run.folder import RunFolder
from optimizer.run.result import RunResult
from optimizer.run.settings import SearchSettings
from optimizer.run.state import open_state
from optimizer.search.baseline import shown_note
from optimizer.search.forecast import max_test_calls
from optimizer.search.pace import SearchProgress
from optimizer.search.playoff import SearchOutcome
from optimizer.search.search import Search
from optimizer.search.task import SearchTask
from promptstill.endpoint.allowance import Allowance, LimitReached
from promptstill.endpoint.client import Client
from promptstill.endpoint.endpoint import Endpoint
from promptstill.endpoint.rate_notice import RateNotice
from promptstill.engine.models import Model
from promptstill.events import Listener, Say, StepEnded, StepStarted, teller
from promptstill.files import write_json
from promptstill.prompt.layouts.dspy_default import dspy_default
from promptstill.provenance import now
from promptstill.report.drawing import draw_or_say
from promptstill.scoring.evaluate import gather_or_cancel
from promptstill.scoring.rows import write_test_rows
from promptstill.scoring.test_report import (
    Reports,
    TestVerdict,
    compare_reports,
    evaluate_test,
    join_reports,
    uncached_calls,
)
from promptstill.shell import command_line
from promptstill.task.open import OpenTask

TRIALS_STEP = "trials"


async def search_and_measure(
    opened: OpenTask,
    settings: SearchSettings,
    served: tuple[Endpoint, int],
    model: Model,
    run: RunFolder,
    listener: Listener,
    worker: int,
) -> RunResult:
    """All steps that ask the model. What it cost is noted in run.json however it ends."""
    endpoint, context = served
    if worker == 0:
        run.note(context=context, slow=endpoint.slow)
    with open_state(settings, run, opened.name) as state:
        held = max_test_calls(opened.test_calls, dspy=settings.dspy)
        spent, seconds = state.calls.totals() | run.judge_cost(), state.calls.working_seconds()
        limits = settings.whole_limits(len(opened.splits.folds) + 1, held)
        allowance = Allowance(limits, spent, held=held, seconds=seconds)
        try:
            async with (
                Client(endpoint, state.calls, allowance, draws=settings.draws) as client,
                open_proposer(settings, client) as proposer,
            ):
                parts = (opened, settings, client, context, model, run, listener, worker, state.study)
                search = OneSearch(*parts, proposer=proposer)
                return await (await Steps(search).record_program()).run()
        finally:
            run.note(spent=allowance.record(), ended_at=now())
            if worker == 0:
                draw_report(run, teller(listener))


@asynccontextmanager
async def open_proposer(settings: SearchSettings, client: Client) -> AsyncIterator[Client | None]:
    """A client for the proposer's own endpoint, with the run's store and allowance; None where it has none."""
    if settings.proposer_at is None:
        yield None
        return
    name, source = settings.proposer_at
    endpoint = source.endpoint(source.identity(Model(name, name, None)))
    async with Client(endpoint, client.store, client.allowance) as proposer:
        yield proposer


def most_calls(searches: Sequence[Search], allowance: Allowance) -> int:
    """The calls of the whole run at most, those made so far included."""
    left = allowance.total.calls + sum(one.max_calls() for one in searches) + allowance.held
    allowed = allowance.limits.most_calls
    return left if allowed is None else min(left, allowed)


def draw_report(run: RunFolder, say: Say, *, running: bool = False) -> None:
    """Renew report.html, or say that it could not be drawn."""

    def draw() -> None:
        from optimizer.report.report import write_report

        write_report(run, running=running)

    draw_or_say(draw, say, command_line("optimize", "--report", run.path))


@dataclass(frozen=True)
class Steps:
    """The steps of one run, each using what the ones before it made.

    search: over the rows as they are dealt; of a cross-validated run, over all rows.
    """

    search: OneSearch

    async def record_program(self) -> Steps:
        """The steps on the predictor's part of each train row, where the recipe is of a program; else these."""
        if self.search.opened.program is None:
            return self
        from promptstill.scoring.program import record_program

        task = await self.search.describe_task()
        recorded = await record_program(self.search.opened, task, self.search.client, self.search.say)
        self.search.run_folder.note(example=dict(recorded.splits.train[0].inputs))
        return Steps(replace(self.search, opened=recorded))

    async def run(self) -> RunResult:
        began = time.monotonic()
        fresh = not self.search.allowance.total.calls
        notice = self.search.client.pacer.on_rate = RateNotice(self.search.allowance, self.search.say)
        whole = replace(self.search, follow=self._follow)
        folds = open_folds(whole) if whole.opened.splits.folds else Folds((), whole)
        searches = [await one.prepare() for one in folds.searches]
        if not fresh:
            self._hold_less(searches[-1].task)
        notice.most_calls = most_calls(searches, self.search.allowance)
        if folds.parts:
            await folds.tell_price(searches, self.search.allowance, self.search.say)
        trials = self.search.settings.trials
        self.search.listener(StepStarted(TRIALS_STEP, trials and trials * len(searches)))
        try:
            jobs = (one.run(search) for one, search in zip(folds.searches, searches, strict=True))
            found = await gather_or_cancel(jobs)
        finally:
            self.search.listener(StepEnded(TRIALS_STEP))
        if self.search.worker > 0:
            return self._result(found[-1].outcome)
        return await self._finish(folds, found, began)

    def _hold_less(self, task: SearchTask) -> None:
        """Set aside for test no more than is not stored yet; of a program's calls none is known before the others have
        answered."""
        if not task.task.in_program:
            baseline, rows = task.prompt(task.starters()[0]), self.search.opened.splits.test
            self.search.allowance.held = uncached_calls(
                task.task, baseline, rows, self.search.client, dspy=self.search.settings.dspy
            )

    def _follow(self, task: SearchTask, progress: SearchProgress) -> None:
        """After each generation: show in the run folder what there is so far."""
        best = progress.best
        if self.search.worker > 0 or best is None:
            return
        self.search.run_folder.note(spent=self.search.allowance.record())  # a judge's part is nowhere else
        baseline, prompt = task.prompt(task.starters()[0]), task.prompt(best.candidate)
        self.search.run_folder.write_trials(self.search.study.trials(), prompt.id)
        self.search.run_folder.write_prompts(baseline=baseline, winner=prompt)
        draw_report(self.search.run_folder, self.search.say, running=True)

    async def _finish(self, folds: Folds, found: Sequence[Found], began: float) -> RunResult:
        """Read test, and write what came of it."""
        folder, whole = self.search.run_folder, found[-1]
        outcome = replace(whole.outcome, stopped=folds.stopped(found))
        task, baseline, winner = whole.task, whole.baseline, whole.winner
        folder.write_trials(outcome.trials, outcome.winner.prompt_id)
        rival = {"dspy": dspy_default(task.task)} if self.search.settings.dspy else {}
        folder.write_prompts(baseline=baseline, **rival, winner=winner)
        verdict = await self._verdict(folds, found)
        self.search.allowance.end_test()
        if verdict:
            write_test_rows(folder.test_path, verdict)
        shipped = winner if verdict and verdict.shipped == "winner" else baseline
        artifact = to_artifact(
            recipe_file=self.search.opened.recipe_file,
            model=self.search.model,
            prompt=shipped,
            run=folder,
            dev=await dev_scores(task, outcome, shipped, self.search.client) | await confidence(whole),
            verdict=verdict,
            search=search_record(task, outcome, self.search.client, time.monotonic() - began),
        )
        artifact |= first_fold_record(found[0].winner) if folds.parts else {}
        write_json(folder.best_path, artifact)
        write_pareto(task, outcome, self.search.opened.recipe_file, self.search.model, folder)
        folder.note(search=artifact["search"], best=shipped.id, shipped=artifact["shipped"])
        return self._result(outcome, verdict, artifact)

    def _result(
        self, outcome: SearchOutcome, verdict: TestVerdict | None = None, artifact: dict[str, Any] | None = None
    ) -> RunResult:
        splits, in_program = self.search.opened.splits, self.search.opened.program is not None
        parts = (
            self.search.run_folder,
            outcome,
            verdict,
            artifact,
            self.search.allowance,
            len(splits.dev),
            self.search.settings,
        )
        return RunResult(*parts, self.search.worker, in_program, len(splits.unlabelled))

    async def _verdict(self, folds: Folds, found: Sequence[Found]) -> TestVerdict | None:
        """The comparison on test, or None where a hard limit forbids even that. Of a cross-validated run, each row is
        asked the prompts that were found without it."""
        whole, splits = found[-1], self.search.opened.splits
        time_it_takes = whole.pace.estimate(self.search.allowance.held)
        self.search.allowance.begin_test()
        name = self.search.run_folder.baseline_name
        arms = f"{name}, DSPy default and winner" if self.search.settings.dspy else f"{name} and winner"
        of_each = "s of the folds" if folds.parts else ""
        self.search.say(f"evaluating on test: {arms}{of_each} on {len(splits.test)} rows{time_it_takes}")
        if note := shown_note(whole.baseline, name, splits.test):
            self.search.say(note)
        try:
            parts = found[:-1] or found
            reports = await gather_or_cancel(self._evaluate(one) for one in parts)
        except LimitReached as reached:
            self.search.say(f"test could not be read: {reached} is reached")
            return None
        dev = sum(one.outcome.winner.value for one in parts) / len(parts)
        verdict = compare_reports(join_reports(reports, self.search.settings.seed), dev, self.search.settings.seed)
        winners = self.search.run_folder.count_winners(splits.test, whole.winner.id)
        verdict = replace(verdict, winners=winners, folds=folds.scores(found, reports))
        return await add_rivals(verdict, self.search.opened, self.search.settings, self.search.say)

    async def _evaluate(self, one: Found) -> Reports:
        """The reports of one search's prompts, on rows that it never saw."""
        prompts, metric, seed = (one.baseline, one.winner), self.search.opened.recipe.metric, self.search.settings.seed
        dspy_task = one.task.task if self.search.settings.dspy else None
        return await evaluate_test(prompts, one.test, metric, self.search.client, seed=seed, dspy_task=dspy_task)
