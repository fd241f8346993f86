"""The steps of `optimize` that ask a model: probe, search, the test split, the hand-off."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from optimizer.run.artifact import dev_scores, search_record, to_artifact
from optimizer.run.folder import RunFolder
from optimizer.run.result import RunResult
from optimizer.run.settings import SearchSettings
from optimizer.run.state import open_state
from optimizer.search.baseline import for_model, refuse_unread_baseline, shown_note, with_own
from optimizer.search.forecast import forecast_lines, max_test_calls, refuse_small_limit
from optimizer.search.growth import SpaceGrowth
from optimizer.search.pace import Pace
from optimizer.search.playoff import SearchOutcome, play_off
from optimizer.search.search import Search, SearchProgress
from optimizer.search.sources import SOURCES
from optimizer.search.sources.given import empty_space
from optimizer.search.sources.source import SourceContext
from optimizer.search.study import StoredStudy
from optimizer.search.task import SearchTask
from promptstill.endpoint.allowance import Allowance, Limit, LimitReached
from promptstill.endpoint.client import Client, Endpoint
from promptstill.engine.markers import find_markers
from promptstill.engine.models import Model
from promptstill.events import GenerationEnded, Listener, Say, StepEnded, StepStarted, teller
from promptstill.files import digest, write_json
from promptstill.prompt.layouts import LAYOUTS
from promptstill.prompt.layouts.dspy_default import dspy_default
from promptstill.prompt.layouts.task import Task
from promptstill.prompt.prompt import Prompt
from promptstill.provenance import now
from promptstill.report.drawing import draw_or_say
from promptstill.scoring.probe import constrains_outputs, probe_layouts
from promptstill.scoring.rows import write_test_rows
from promptstill.scoring.test_report import TestVerdict, compare_reports, evaluate_test, uncached_calls
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
    with open_state(settings, run, opened.name) as state:
        held = max_test_calls(opened.test_calls, dspy=settings.dspy)
        spent, seconds = state.calls.totals() | run.judge_cost(), state.calls.working_seconds()
        allowance = Allowance(settings.limits, spent, held=held, seconds=seconds)
        try:
            async with Client(endpoint, state.calls, allowance) as client:
                steps = Steps(opened, settings, client, context, model, run, listener, worker, state.study)
                return await (await steps.record_program()).run()
        finally:
            run.note(spent=allowance.record(), ended_at=now())
            if worker == 0:
                draw_report(run, teller(listener))


def draw_report(run: RunFolder, say: Say, *, running: bool = False) -> None:
    """Renew report.html, or say that it could not be drawn."""

    def draw() -> None:
        from optimizer.report.report import write_report  # loads Matplotlib, for which a run need not wait to begin

        write_report(run, running=running)

    draw_or_say(draw, say, command_line("optimize", "--report", run.path))


def opening_line(search: Search) -> str:
    """What the first candidates race over, and what follows."""
    task = search.task
    count = min(task.trials, len(task.starters()))
    if (few := search.first_race_calls(count)) is not None:
        whole = f"over all of dev they may take {task.max_rows(count):,}"
        return f"racing the first {count} candidates over the dev rows that {few:,} calls pay for; {whole}"
    more = "; the model proposes and bootstraps others after that" if task.trials > count else ""
    return f"racing the first candidates over dev{more}"


@dataclass(frozen=True)
class Steps:
    """The steps of one run, each using what the ones before it made."""

    opened: OpenTask
    settings: SearchSettings
    client: Client
    context: int
    model: Model
    run_folder: RunFolder
    listener: Listener
    worker: int
    study: StoredStudy

    @property
    def allowance(self) -> Allowance:
        return self.client.allowance

    def say(self, text: str) -> None:
        teller(self.listener)(text)

    async def record_program(self) -> Steps:
        """The steps on the predictor's part of each train row, where the recipe is of a program; else these."""
        if self.opened.program is None:
            return self
        from promptstill.scoring.program import record_program

        recorded = await record_program(self.opened, await self._describe_task(), self.client, self.say)
        self.run_folder.note(example=dict(recorded.splits.train[0].inputs))
        return replace(self, opened=recorded)

    async def run(self) -> RunResult:
        began = time.monotonic()
        pace = Pace(self.allowance)
        search = await self._prepare(pace)
        self.listener(StepStarted(TRIALS_STEP, self.settings.trials))
        try:
            outcome = await search.run()
            task = search.task
            if self.worker > 0:
                return self._result(outcome)
            tell = partial(self._tell_play_off, outcome.stopped, pace)
            outcome = await play_off(task, outcome, self.client, tell)
        finally:
            self.listener(StepEnded(TRIALS_STEP))
        return await self._finish(task, outcome, pace, began)

    async def _prepare(self, pace: Pace) -> Search:
        """Everything before the first race: what the endpoint can do, the study, the first choices."""
        settings, splits = self.settings, self.opened.splits
        fresh = not self.allowance.total.calls
        task = await self._describe_task()
        layouts = settings.layouts or (("dspy-chat",) if task.in_program else tuple(LAYOUTS))
        able = await probe_layouts(task, layouts, splits.train[0], self.client)
        if fresh:  # what an earlier part of the run paid for is scored already
            calls = self.allowance.total.calls
            refuse_small_limit(settings.limits.calls, calls, len(splits.dev), self.allowance.held, dspy=settings.dspy)
        identity = self.client.endpoint.identity
        own = for_model(self.opened.own, task)
        leaks = ["without leaks"] if settings.drop_leaks else []
        subject = [self.opened.recipe_file.sha256, splits.digests(), identity, settings.seed, *leaks]
        self.study.bind(digest([*subject, *([own.id] if own else [])]))
        growth = self._growth(task, pace)
        limit, growth_calls = settings.limits.calls, growth.max_calls()
        for line in forecast_lines(able, settings.trials, growth_calls, limit, self.opened, dspy=settings.dspy):
            self.say(line)
        empty = empty_space(splits.train, self.context, able.layouts, able.structured)
        space = await growth.start(empty)
        task = replace(task, structured=space.structured)
        metric = self.opened.recipe.metric
        search_task = SearchTask(
            task,
            space,
            splits.train,
            splits.dev,
            metric,
            settings.seed,
            settings.trials,
            self._study_worker(),
            settings.race,
            own,
        )
        await refuse_unread_baseline(search_task, self.client)
        if not fresh and not task.in_program:  # of a program's calls none is known before its others have answered
            baseline = search_task.prompt(search_task.starters()[0])
            dspy = settings.dspy
            self.allowance.held = uncached_calls(task, baseline, splits.test, self.client, dspy=dspy)
        search = Search(search_task, self.client, self.study, partial(self._follow, pace), growth)
        if growth.max_calls():  # the first race, or what a kill left of it, is still ahead
            self.say(opening_line(search))
        return search

    async def _describe_task(self) -> Task:
        """What all candidates share at this endpoint."""
        task = replace(self.opened.task, model=self.model.name)
        # What takes a predictor's place in a program is what DSPy sends, and that is without a grammar.
        structured = not task.in_program and await constrains_outputs(self.client, task.model)
        return replace(task, structured=structured, markers=await find_markers(self.model, self.client))

    def _growth(self, task: Task, pace: Pace) -> SpaceGrowth:
        settings, recipe = self.settings, self.opened.recipe
        context = SourceContext(
            task,
            self.opened.splits.train,
            recipe.metric,
            with_own(recipe.instructions, self.opened.own),
            settings.seed,
            settings.proposer,
            settings.proposing,
        )
        sources = {name: make(context) for name, make in SOURCES.items()}
        return SpaceGrowth(self.study, sources, self.client, self.run_folder.pools_path, self.say, pace.untimed)

    def _follow(self, pace: Pace, task: SearchTask, progress: SearchProgress) -> None:
        """After each generation: tell the listener, and show in the run folder what there is so far."""
        pace.note(progress.done)
        best = progress.best
        seconds_left, limit = pace.left(progress.done, progress.trials)
        self.listener(
            GenerationEnded(
                progress.done,
                progress.trials,
                best.value if best else None,
                best.candidate.to_params() if best else {},
                progress.rows_evaluated,
                progress.rows_in_full,
                self.allowance.total.calls,
                self.allowance.total.tokens,
                seconds_left,
                limit,
            )
        )
        if self.worker > 0 or best is None:
            return
        self.run_folder.note(spent=self.allowance.record())  # a judge's part is nowhere else
        baseline, prompt = task.prompt(task.starters()[0]), task.prompt(best.candidate)
        self.run_folder.write_trials(self.study.trials(), prompt.id)
        self.run_folder.write_prompts(baseline=baseline, winner=prompt)
        draw_report(self.run_folder, self.say, running=True)

    def _tell_play_off(self, stopped: Limit | None, pace: Pace, entrants: int, rows: int) -> None:
        """That the finalists are compared once more, and how long that takes at most."""
        time_it_takes = f", as far as {stopped} allows" if stopped else pace.estimate(entrants * rows)
        self.say(
            f"dev cannot tell {entrants} finalists apart: they are compared on {rows} train rows new to them"
            f"{time_it_takes}"
        )

    async def _finish(self, task: SearchTask, outcome: SearchOutcome, pace: Pace, began: float) -> RunResult:
        """Read test, and write what came of it."""
        folder = self.run_folder
        folder.write_trials(outcome.trials, outcome.winner.prompt_id)
        baseline, winner = task.prompt(task.starters()[0]), task.prompt(outcome.winner.candidate)
        rival = {"dspy": dspy_default(task.task)} if self.settings.dspy else {}
        folder.write_prompts(baseline=baseline, **rival, winner=winner)
        verdict = await self._verdict(task.task, baseline, winner, outcome, pace)
        if verdict:
            write_test_rows(folder.test_path, verdict)
        shipped = winner if verdict and verdict.shipped == "winner" else baseline
        artifact = to_artifact(
            recipe_file=self.opened.recipe_file,
            model=self.model,
            prompt=shipped,
            run=folder,
            dev=await dev_scores(task, outcome, shipped, self.client),
            verdict=verdict,
            search=search_record(task, outcome, self.allowance, time.monotonic() - began),
        )
        write_json(folder.best_path, artifact)
        folder.note(search=artifact["search"], best=shipped.id, shipped=artifact["shipped"])
        return self._result(outcome, verdict, artifact)

    def _result(
        self, outcome: SearchOutcome, verdict: TestVerdict | None = None, artifact: dict[str, Any] | None = None
    ) -> RunResult:
        rows = len(self.opened.splits.dev)
        parts = (self.run_folder, outcome, verdict, artifact, self.allowance, rows, self.settings, self.worker)
        return RunResult(*parts, in_program=self.opened.program is not None)

    def _study_worker(self) -> int:
        """This process's number in the study: in a shared storage, one that no other run has."""
        if self.settings.storage is None:
            return self.worker
        return int(digest(self.run_folder.path.name)[:10], 16) + self.worker + 1

    async def _verdict(
        self, task: Task, baseline: Prompt, winner: Prompt, outcome: SearchOutcome, pace: Pace
    ) -> TestVerdict | None:
        """The comparison on test, or None where a hard limit forbids even that."""
        rows, metric = self.opened.splits.test, self.opened.recipe.metric
        time_it_takes = pace.estimate(self.allowance.held)
        self.allowance.begin_test()
        name = self.run_folder.baseline_name
        arms = f"{name}, DSPy default and winner" if self.settings.dspy else f"{name} and winner"
        self.say(f"evaluating on test: {arms} on {len(rows)} rows{time_it_takes}")
        if note := shown_note(baseline, name, rows):
            self.say(note)
        try:
            prompts, seed = (baseline, winner), self.settings.seed
            dspy_task = task if self.settings.dspy else None
            reports = await evaluate_test(prompts, rows, metric, self.client, seed=seed, dspy_task=dspy_task)
            verdict = compare_reports(reports, outcome.winner.value, seed)
            return replace(verdict, winners=self.run_folder.count_winners(winner.id))
        except LimitReached as reached:
            self.say(f"test could not be read: {reached} is reached")
            return None
