"""The search: generations of candidates raced over dev in blocks, then the finalists completed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from optimizer.search.calibrating import CandidateCalibrator
from optimizer.search.candidate import Candidate
from optimizer.search.dev_scores import DevScorer
from optimizer.search.fitted_race import FirstRace, FittedRace, LaterRace
from optimizer.search.forecast import max_other_calls
from optimizer.search.growth import SpaceGrowth
from optimizer.search.leave_out import LeaveOut
from optimizer.search.pace import SearchProgress, progress_of
from optimizer.search.playoff import SearchOutcome, choose_winner, cut_short
from optimizer.search.race import (
    GENERATION,
    MIN_FITTED_BLOCK,
    MIN_GENERATION,
    blocks,
    fitted_blocks,
    survivors,
)
from optimizer.search.racing_trial import (
    RacingTrial,
    by_lead,
    complete_finalists,
    drop_losers,
    finish_trials,
    rows_read,
)
from optimizer.search.ranking import best_of_each, by_split, most_rows, short_enough
from optimizer.search.study import StoredStudy, Trial
from optimizer.search.suggest import suggest_candidates
from optimizer.search.task import SearchTask
from promptstill.endpoint.allowance import Limit, LimitReached
from promptstill.endpoint.client import Client
from promptstill.prompt.prompt import Prompt
from promptstill.scoring.calibration import NONE
from promptstill.scoring.evaluate import ScoredRow, gather_or_cancel

MOST_ROUNDS = 4  # of the sources, before a generation that has nothing new ends the search
SUGGESTED_PER_CANDIDATE = 8  # times as many are asked for, since some repeat what was tried


class NothingToChoose(Exception):
    """No trial of this study has a score yet: other processes hold every candidate."""


class Search:
    """One worker's part of a study. Deterministic for a seed and a deterministic endpoint, killed or not.

    The first candidates need nothing of a model but their own answers. What else the space may hold is asked for when
    a later generation needs it, so that a small limit is spent on scores first.
    """

    def __init__(
        self,
        task: SearchTask,
        client: Client,
        study: StoredStudy,
        follow: Callable[[SearchTask, SearchProgress], None],
        growth: SpaceGrowth | None = None,
        calibrating: CandidateCalibrator | None = None,
    ) -> None:
        self.task, self.client, self.study, self.follow = task, client, study, follow
        self.growth, self.calibrating = growth, calibrating
        answers = calibrating.answers if calibrating else None
        self._scorer = DevScorer(client, LeaveOut(task) if task.shared else None, answers)

    async def run(self) -> SearchOutcome:
        """Search until the trials or a limit end, then complete the finalists and choose.

        Raises `LimitReached` where a limit left no score at all, and `NothingToChoose`.
        """
        stopped: Limit | None = None
        slot, ended = 0, self.study.note(self._end_topic)  # ended: an earlier part of the run has read test perhaps
        generation: list[RacingTrial] = []
        try:
            while (left := self.task.trials - self._begun(slot)) > 0:
                if ended and (self.task.worker, slot) not in self._stored():
                    break
                generation = await self._next_generation(slot, self.size(slot, left))
                if not generation:
                    break
                await self._race(generation)
                short_enough(self.study.trials(), self.task.most_tokens)
                slot += len(generation)
        except LimitReached as reached:
            stopped = reached.limit
        unfinished = finish_trials(generation, self.task.worker)
        trials = self._known() or unfinished
        chosen = [trial for trial in trials if trial.prompt_id in (ended or "").split()]
        complete, cut = await complete_finalists(self.task, chosen or trials, self._score_whole, self._told)
        finalists, stopped = complete or most_rows(short_enough(trials, self.task.most_tokens)), stopped or cut
        if not finalists:
            raise LimitReached(stopped) if stopped else NothingToChoose
        finalists = best_of_each([by_split(self.task.metric, self.task.dev, trial) for trial in finalists])
        winner = choose_winner(finalists, self.task.within)
        self.study.first_note(self._end_topic, " ".join(["ended", *(trial.prompt_id for trial in complete)]))
        return SearchOutcome(trials, finalists, winner, cut_short(stopped) if complete else stopped)

    @property
    def _end_topic(self) -> str:
        """The study's note that this worker's part ended, under these limits, and of who was complete then."""
        limits = [f"{limit.kind} {limit.amount}" for limit in self.client.allowance.limits.each()]
        return f"end of {self.task.worker}: {', '.join([f'{self.task.trials} trials', *limits])}"

    def max_calls(self) -> int:
        """The calls that the search takes at most: all trials on all of dev, and what scores no row."""
        rows = self.task.trials * len(self.task.dev)
        return rows * self.client.draws + max_other_calls(self.task, self.growth, self.calibrating)

    async def score_first(self) -> None:
        """Ask the first candidate the first rows of dev; the race finds the replies stored."""
        first = self.task.starters()[0]
        await self.score(first, self.task.prompt(first), blocks(len(self.task.dev))[0])

    def most(self, slot: int) -> int:
        """How many candidates the generation at `slot` has at most: the first has all starters."""
        return GENERATION if slot else max(GENERATION, len(self.task.starters()))

    def size(self, slot: int, left: int) -> int:
        """How many of the `left` candidates the generation at `slot` has: the first all starters, a later one as many
        as its share of the calls pays for.

        Of a generation that is cut nothing is learned, so none is begun that a limit would cut, and some calls are left
        to compare finalists. All is noted, so that after a kill the same generation goes on. Raises `LimitReached`
        where not even the smallest is paid for.
        """
        count = min(self.most(slot), left)
        if slot == 0:
            return count
        name = f"{self.task.worker}-{slot}"
        generation = self.study.generation(name)
        if generation is None:
            race = LaterRace(self.task, self.client, self.study, self.growth, self.calibrating)
            generation = self.study.begin_generation(name, race.fit(name, count, more=left > count))
        return min(generation.size, count)

    def _known(self) -> list[Trial]:
        """All finished trials, with the choices that they name: whoever grew the space stored such trials after."""
        trials = self.study.trials()
        if self.growth:
            self.task = replace(self.task, space=self.growth.latest())
        return trials

    def _begun(self, slot: int) -> int:
        """Trials of the study that count before our `slot`: all of others', and our own below it."""
        mine = self.task.worker
        return slot + sum(trial.worker != mine for trial in self.study.trials())

    async def _next_generation(self, slot: int, count: int) -> list[RacingTrial]:
        """The next candidates, none of which was tried or is being tried: the starters together, then TPE's."""
        mine = self.task.worker
        history = [t for t in self.study.trials() if t.worker != mine or t.slot < slot]
        if not history or mine == 0:
            starters = await self._claim(self.task.starters()[slot:], history, slot, count)
            if starters:
                return starters
        name, growth = f"{mine}-{slot}", self.growth
        for again in range(MOST_ROUNDS):  # a round that brings nothing new makes way for the next
            if growth:
                part = f"{name}.{again}" if again else name
                if again:
                    growth.fit(part, self.client.allowance.room(0))
                self.task = replace(self.task, space=await growth.grow(history, part))
            made = await self._claim_of(name, history, slot, count)
            if made or not growth or not growth.goes_on():
                break
        return made

    async def _claim_of(self, name: str, history: Sequence[Trial], slot: int, count: int) -> list[RacingTrial]:
        """The candidates of a later generation: what improves on others first, then TPE's."""
        space, growth = self.task.space, self.growth
        first, evolved = (growth.untried(space, history), growth.untried_sets(space, history)) if growth else ([], [])
        suggested = self.suggest(history, SUGGESTED_PER_CANDIDATE * count, f"{self.task.seed}-{name}")
        suggested = [*evolved, *suggested]
        if self.calibrating:
            tried = {trial.candidate for trial in history}
            if not self.calibrating.is_due(name):
                first, suggested = ([one.uncalibrated for one in these] for these in (first, suggested))
            due = self.calibrating.leaders_due(name) if history else 0
            first += [one for one in await self.calibrating.choose_first(self.task, history, due) if one not in tried]
        if growth and growth.learns(space, history):
            count = min(count, max(MIN_GENERATION, len(first)))  # what learns has the calls
        count = int(self.study.first_note(f"held {name}", str(count)))
        return await self._claim([*first, *suggested], history, slot, count)

    async def _claim(
        self, candidates: Sequence[Candidate], history: Sequence[Trial], slot: int, count: int
    ) -> list[RacingTrial]:
        """The first `count` candidates that are new, calibrated as they say and claimed for this worker."""
        tried = {trial.prompt_id for trial in history}
        claimed: list[RacingTrial] = []
        for wanted in map(self.task.space.allowed, candidates):
            if len(claimed) == count:
                break
            candidate = wanted
            if self.calibrating and wanted.calibration != NONE:
                self.task, candidate = await self.calibrating.calibrate(self.task, wanted)
            prompt = self.task.prompt(candidate)
            if prompt.id not in tried and self.study.claim(prompt.id, self.task.worker):
                claimed.append(RacingTrial(slot + len(claimed), candidate, prompt))
                tried.add(prompt.id)
        return claimed

    def suggest(self, history: Sequence[Trial], count: int, seed: str) -> list[Candidate]:
        """Candidates after the starters, a pure function of the arguments."""
        return suggest_candidates(self.task.space.choices, history, count, seed)

    async def _race(self, racing: list[RacingTrial]) -> None:
        """Run a generation through the blocks side by side, dropping what lost; then store its trials."""
        if not {(self.task.worker, trial.slot) for trial in racing} <= self._stored():  # else an earlier part raced it
            await self._run_and_store(racing)
        progress = self.progress()  # first: it may bring the choices that the best trial names
        self.follow(self.task, progress)

    async def _run_and_store(self, racing: Sequence[RacingTrial]) -> None:
        mine, rows = self.task.worker, len(self.task.dev)
        history = [t for t in self.study.trials() if t.worker != mine or t.slot < racing[0].slot]
        best = max((t for t in history if not t.lost), key=lambda t: t.value, default=None)
        fitted, draws = await self._fitted_race(racing), self.client.draws
        if fitted:
            await self._run(racing, fitted_blocks(len(racing), rows, fitted.calls // draws), best)
        if fitted and fitted.is_all:
            # Not stored: with a higher limit, or where calls turn out cheaper, more of the race is run.
            answered = sum(len(trial.results) for trial in racing)
            self.client.allowance.room(draws * (self.task.max_rows(len(racing)) - answered))
        if not fitted or fitted.is_all:
            await self._run(racing, blocks(rows), best)
        self._store(racing, best)

    async def _run(self, racing: Sequence[RacingTrial], course: Sequence[range], best: Trial | None) -> None:
        """Ask all of them the first block of a course, and each later one those that are left."""
        for trial in racing:
            trial.results, trial.lost, trial.over = {}, False, False  # what was asked before comes from the store
        await self._add_told(racing)
        for number, block in enumerate(course):
            active = [trial for trial in racing if not trial.lost]
            # The best so far are asked first: where a limit ends the block, theirs is the part that was answered.
            leading = by_lead(active, best.scores if best else {})
            await gather_or_cancel(self._score(trial, block) for trial in leading)
            for trial in active:
                trial.hold_to(self.task.most_tokens)
            active = [trial for trial in active if not trial.over]
            if self.task.race and block is not course[-1]:
                drop_losers(active, best.scores if best else {}, survivors(len(racing), number))

    async def _add_told(self, racing: Sequence[RacingTrial]) -> None:
        """Score calibrated trials on the rows that were read for the same prompt in an earlier generation: no call."""
        read = rows_read(self.study.trials(), self.task.worker, racing[0].slot)
        for trial in (one for one in racing if one.candidate.calibration != NONE):
            await self._score(trial, range(await self._told(trial, read.get(trial.candidate.uncalibrated, 0))))

    def _store(self, racing: Sequence[RacingTrial], best: Trial | None) -> None:
        """Store the trials of a race."""
        stored = self._stored()
        for trial in finish_trials(racing, self.task.worker, best.scores if best else None):
            if (trial.worker, trial.slot) not in stored:
                self.study.add(trial, self.task.stored_choices)

    async def _fitted_race(self, racing: Sequence[RacingTrial]) -> FittedRace | None:
        """The race of a generation over fewer than all rows; None for a whole one."""
        slot = racing[0].slot
        if slot == 0:
            return await self.fitted_first_race(racing)
        begun = self.study.generation(f"{self.task.worker}-{slot}")
        return FittedRace(begun.calls, is_all=False) if begun and begun.calls is not None else None

    async def fitted_first_race(self, racing: Sequence[RacingTrial]) -> FittedRace | None:
        """As `FirstRace.fit`, once it is known what a call costs, where a limit goes by that: the first rows tell."""
        first = FirstRace(self.task, self.client, self.study)
        if not first.goes_by_cost:
            return first.fit(len(racing))
        look = range(min(MIN_FITTED_BLOCK, len(self.task.dev)))
        await gather_or_cancel(self._score(trial, look) for trial in racing)
        return first.fit(len(racing), first.calls_by_cost())

    def _stored(self) -> set[tuple[int, int]]:
        """The worker and slot of each finished trial."""
        return {(trial.worker, trial.slot) for trial in self.study.trials()}

    async def _told(self, trial: RacingTrial, most: int | None = None) -> int:
        return await self._scorer.count_told(self.task, trial.candidate, trial.prompt, self.task.dev[:most])

    async def _score_whole(self, trial: RacingTrial) -> None:
        await self._score(trial, range(len(self.task.dev)))

    async def _score(self, trial: RacingTrial, rows: range) -> None:
        new = [row for row in rows if row not in trial.results]
        trial.results |= dict(zip(new, await self.score(trial.candidate, trial.prompt, new), strict=True))

    async def score(self, candidate: Candidate, prompt: Prompt, rows: Sequence[int]) -> list[ScoredRow]:
        """A candidate's results on dev rows. prompt: what the candidate stands for."""
        return await self._scorer.score(self.task, candidate, prompt, [self.task.dev[row] for row in rows])

    def progress(self) -> SearchProgress:
        return progress_of(self._known(), len(self.task.dev))
