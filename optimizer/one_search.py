"""One search: what the endpoint can do, the space, the races, the play-off. What it comes to is a winner on dev."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import inf

from optimizer.run.folder import RunFolder
from optimizer.run.settings import SearchSettings
from optimizer.search.baseline import for_model, refuse_unread_baseline, with_own
from optimizer.search.calibrating import CandidateCalibrator, calibration_rows, find_calibration
from optimizer.search.candidate import FIELD
from optimizer.search.fitted_race import FirstRace
from optimizer.search.forecast import ability_lines, forecast_lines, max_other_calls, refuse_small_limit
from optimizer.search.growth import SpaceGrowth
from optimizer.search.pace import Pace, SearchProgress
from optimizer.search.playoff import SearchOutcome, play_off
from optimizer.search.reflection.rows import reflection_rows
from optimizer.search.search import Search
from optimizer.search.sources import FROM_ROWS, open_sources
from optimizer.search.sources.given import empty_space, reasoning_choices
from optimizer.search.sources.source import SourceContext
from optimizer.search.study import StoredStudy
from optimizer.search.task import SearchTask, own_layout
from promptstill.endpoint.allowance import Allowance, Limit
from promptstill.endpoint.client import Client
from promptstill.endpoint.url import split_model
from promptstill.engine.markers import find_markers
from promptstill.engine.models import Model
from promptstill.engine.source import REMOTE_CONTEXT
from promptstill.events import GenerationEnded, Listener, teller
from promptstill.files import digest
from promptstill.prompt.layouts import LAYOUTS
from promptstill.prompt.layouts.task import Task
from promptstill.prompt.prompt import Prompt
from promptstill.scoring.calibration import NONE
from promptstill.scoring.probe import Abilities, probe_layouts, with_dialect
from promptstill.task.examples import Example
from promptstill.task.open import OpenTask

Follow = Callable[[SearchTask, SearchProgress], None]


@dataclass(frozen=True)
class Found:
    """What a search came to: its task with the whole space, its outcome, and how fast it went. test: rows that it did
    not see; of a search over all rows, these rows. calibrating: who calibrated its candidates, if anybody."""

    task: SearchTask
    outcome: SearchOutcome
    pace: Pace
    test: Sequence[Example]
    calibrating: CandidateCalibrator | None

    @property
    def baseline(self) -> Prompt:
        return self.task.prompt(self.task.starters()[0])

    @property
    def winner(self) -> Prompt:
        return self.task.prompt(self.outcome.winner.candidate)


@dataclass(frozen=True)
class OneSearch:
    """A search over the rows of `opened`, each step using what the ones before it made.

    follow: called after each generation, with the trials so far. proposer: asks who proposes instructions, where that
    is a model at another endpoint.
    """

    opened: OpenTask
    settings: SearchSettings
    client: Client
    context: int
    model: Model
    run_folder: RunFolder
    listener: Listener
    worker: int
    study: StoredStudy
    follow: Follow = lambda task, progress: None
    proposer: Client | None = None

    @property
    def allowance(self) -> Allowance:
        return self.client.allowance

    def say(self, text: str) -> None:
        teller(self.listener)(text)

    @cached_property
    def pace(self) -> Pace:
        return Pace(self.allowance)

    async def prepare(self) -> Search:
        """Everything before the first race: what the endpoint can do, the study, the first choices."""
        settings, splits = self.settings, self.opened.splits
        fresh = not self.allowance.total.calls
        task = await self.describe_task()
        layouts = settings.layouts or (("dspy-chat",) if task.in_program else tuple(LAYOUTS))
        able = await probe_layouts(task, layouts, splits.train[0], self.client)
        if fresh and not splits.shared:  # what an earlier part of the run paid for is scored already
            calls = self.allowance.total.calls
            limit = self.allowance.limits.calls
            held, draws = self.allowance.held, settings.draws
            refuse_small_limit(limit, calls, len(splits.dev), held, dspy=settings.dspy, draws=draws)
        task = replace(task, dialect=able.dialect)
        own = for_model(self.opened.own, task)
        self._bind_study(own)
        growth, calibrating = self._growth(task), await self._calibrating(task, able)
        ways, layouts = reasoning_choices(task, able.thinking), able.layouts
        if settings.only != "everything":
            layouts = (own_layout(layouts) if task.own else layouts[0],)
            ways = (FIELD,) if task.own and task.own.reasons else ways[:1]
        room, labels = (
            settings.demo_room(self.context, slow=self.client.endpoint.slow),
            len(task.outputs[0].choices or ()),
        )
        space = empty_space(splits.train, room, layouts, able.structured, able.dialect, ways, labels)
        space = replace(space, thinking=able.thinking, calibrations=calibrating.kinds if calibrating else (NONE,))
        space = await growth.start(space)
        calibrating = calibrating if len(space.calibrations) > 1 else None
        task = replace(task, structured=space.structured, dialect=space.dialect)
        search_task = SearchTask(
            task,
            space,
            splits.train,
            splits.dev,
            self.opened.recipe.metric,
            settings.seed,
            settings.most_trials,
            self._study_worker(),
            settings.race,
            own,
            shared=splits.shared,
            within=settings.within / 100,
            most_tokens=settings.max_prompt_tokens or inf,
        )
        self._tell_forecast(able, max_other_calls(search_task, growth, calibrating))
        await refuse_unread_baseline(search_task, self.client)
        search = Search(search_task, self.client, self.study, self._follow, growth, calibrating)
        if not growth.begun:  # the first race, or what a kill left of it, is still ahead
            self.say(opening_line(search))
        return search

    async def run(self, search: Search) -> Found:
        """The search itself; a process besides the first of a run leaves the play-off to that."""
        outcome = await search.run()
        task = search.task
        if self.worker == 0:
            outcome = await play_off(task, outcome, self.client, partial(self._tell_play_off, outcome.stopped))
        return Found(task, outcome, self.pace, self.opened.splits.test, search.calibrating)

    async def describe_task(self) -> Task:
        """What all candidates share at this endpoint."""
        task = await with_dialect(replace(self.opened.task, model=self.model.name), self.client)
        return replace(task, markers=await find_markers(self.model, self.client))

    def _bind_study(self, own: Prompt | None) -> None:
        """A study is of these rows, this recipe and these weights."""
        settings, splits = self.settings, self.opened.splits
        leaks = ["without leaks"] if settings.drop_leaks else []
        identity = self.client.endpoint.identity
        judge = [f"judge {settings.judge}"] if settings.judge else []
        only = [f"only {settings.only}"] if settings.only != "everything" else []
        subject = [self.opened.recipe_file.sha256, splits.digests(), identity, settings.seed, *leaks, *judge, *only]
        self.study.bind(digest([*subject, *([own.id] if own else [])]))

    def _tell_forecast(self, able: Abilities, besides: int) -> None:
        """What the endpoint cannot do, and what the search costs at most. Of several side by side the run tells it.

        besides: the calls that score no row.
        """
        settings, opened = self.settings, self.opened
        for line in ability_lines(able, opened):
            self.say(line)
        if not opened.splits.shared:
            for line in forecast_lines(
                settings.most_trials, besides, self.allowance.limits, opened, dspy=settings.dspy
            ):
                self.say(line)

    async def _calibrating(self, task: Task, able: Abilities) -> CandidateCalibrator | None:
        """Who measures the bias of candidates; None where a task or an endpoint has no use of it."""
        splits, seed = self.opened.splits, self.settings.seed
        if not self.settings.calibrates or self.settings.only != "everything":
            return None
        taught = splits.train if splits.shared else reflection_rows(splits.train, seed)
        rows = calibration_rows([row for row in taught if row.outputs], splits.unlabelled, seed)
        found = await find_calibration(task, able.layouts, rows, [] if splits.shared else rows, self.client)
        if isinstance(found, str):
            if found:
                self.say(f"labels stay uncalibrated: {found}")
            return None
        return CandidateCalibrator(found, self.study, self.say)

    def _growth(self, task: Task) -> SpaceGrowth:
        settings, recipe, splits = self.settings, self.opened.recipe, self.opened.splits
        context = SourceContext(
            task,
            splits.train,
            recipe.metric,
            with_own(recipe.instructions, self.opened.own),
            settings.seed,
            split_model(settings.proposer or "")[0] or None,
            settings.proposing,
            self.proposer,
            self.context if settings.proposer is None else REMOTE_CONTEXT,
            settings.only,
            () if splits.shared else splits.dev,
        )
        alone = FROM_ROWS if context.proposer else None  # in a light search too: whoever names one has it asked
        path = self.run_folder.pools_path
        return SpaceGrowth(self.study, open_sources(context), self.client, path, self.say, self.pace.untimed, alone)

    def _follow(self, task: SearchTask, progress: SearchProgress) -> None:
        """After each generation: tell the listener, and whoever follows the search."""
        self.pace.note(progress.done)
        best = progress.best
        seconds_left, limit = self.pace.left(progress.done, self.settings.trials)
        self.listener(
            GenerationEnded(
                progress.done,
                self.settings.trials,
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
        self.follow(task, progress)

    def _tell_play_off(self, stopped: Limit | None, entrants: int, rows: int) -> None:
        """That the finalists are compared once more, and how long that takes at most."""
        left = min(self.allowance.calls_left().values(), default=inf)
        calls = int(min(entrants * rows * self.client.draws, max(left, 0)))
        time_it_takes = f", as far as {stopped} allows" if stopped else self.pace.estimate(calls)
        self.say(
            f"dev cannot tell {entrants} finalists apart: they are compared on {rows} train rows new to them"
            f"{time_it_takes}"
        )

    def _study_worker(self) -> int:
        """This process's number in the study: in a shared storage, one that no other run has."""
        if self.settings.storage is None:
            return self.worker
        return int(digest(self.run_folder.path.name)[:10], 16) + self.worker + 1


def opening_line(search: Search) -> str:
    """What the first candidates race over, and what follows."""
    task = search.task
    count = min(task.trials, len(task.starters()))
    if fitted := FirstRace(task, search.client, search.study).fit(count):
        whole = f"over all of dev they may take {search.client.draws * task.max_rows(count):,}"
        return f"racing the first {count} candidates over the dev rows that {fitted.calls:,} calls pay for; {whole}"
    more = "; the model proposes and bootstraps others after that" if task.trials > count else ""
    return f"racing the first candidates over dev{more}"
