"""The search: generations of candidates raced over dev in blocks, then the finalists completed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Protocol

from optimizer.calls import Total
from optimizer.client import Client
from optimizer.errors import BudgetReached
from optimizer.evaluate import Scored, all_or_none, mean_tokens, score_rows
from optimizer.finals import ENTRANTS, Outcome, choose, most_fresh
from optimizer.pools import Pools
from optimizer.problem import Problem
from optimizer.prompt import Prompt
from optimizer.race import Scores, average, blocks, estimate, fitted, going_on, lost
from optimizer.study import StoredStudy, Trial, suggest

GENERATION = 8
SUGGESTED = 8  # times as many are asked for, since some repeat what was tried
SMALLEST = 2  # candidates in a generation that a budget leaves no more room for
MEETING = 100  # calls that it leaves to the play-off, at most
COMPLETED = 3  # the best few, whose scores on dev are made whole


@dataclass
class Racer:
    """A trial on its way through the blocks."""

    slot: int
    params: dict[str, str | int]
    prompt: Prompt
    results: dict[int, Scored] = field(default_factory=dict)
    lost: bool = False

    @property
    def scores(self) -> dict[int, float]:
        return {row: result.score for row, result in self.results.items()}

    def finished(self, worker: int, incumbent: Scores) -> Trial:
        results = list(self.results.values())
        prompt_tokens, completion_tokens = mean_tokens(results)
        return Trial(
            worker,
            self.slot,
            self.params,
            self.prompt.id,
            estimate(self.scores, incumbent),
            self.scores,
            self.lost,
            sum(result.unparsed for result in results),
            prompt_tokens,
            completion_tokens,
            median(result.seconds for result in results),
        )


@dataclass(frozen=True)
class Progress:
    """Where the search stands; `bought` and `full` count dev rows scored, and what all trials in full would have."""

    done: int
    trials: int
    best: Trial | None
    bought: int
    full: int


class Filling(Protocol):
    """Where the choices come from that cost calls, `most_calls` at most; `frozen` once the study has them."""

    @property
    def most_calls(self) -> int: ...

    def frozen(self) -> Pools | None: ...

    async def fill(self) -> Pools: ...


class Search:
    """One worker's part of a study. Deterministic for a seed and a deterministic endpoint, killed or not.

    The starters need nothing of a model but their own answers. What else the pools hold is asked for when a later
    generation needs it, so that a small budget is spent on scores first.
    """

    def __init__(
        self,
        problem: Problem,
        client: Client,
        study: StoredStudy,
        watch: Callable[[Problem, Progress], None],
        filling: Filling | None = None,
    ) -> None:
        self.problem, self.client, self.study, self.watch, self.filling = problem, client, study, watch, filling

    async def run(self) -> Outcome:
        """Search until the trials or a budget end, then complete the finalists and choose."""
        stopped = None
        slot = 0
        generation: list[Racer] = []
        try:
            while (left := self.problem.trials - self._begun(slot)) > 0:
                generation = await self._generation(slot, self.size(slot, min(GENERATION, left)))
                if not generation:
                    break
                await self._race(generation)
                slot += len(generation)
        except BudgetReached as reached:
            stopped = str(reached)
        begun = self._cut(generation)
        trials = self._known() or begun
        finalists, cut = await self._finalists(trials)
        finalists = finalists or furthest(begun)
        if not finalists:
            raise BudgetReached(stopped or cut or "the search")
        return Outcome(trials, finalists, choose(finalists), stopped or cut)

    def size(self, slot: int, count: int) -> int:
        """How many of `count` candidates the generation at `slot` has: the first all, a later one as many as no budget
        will cut, once and for all.

        Of a generation that is cut nothing is learned, so a smaller one is begun, and some calls are left for the
        play-off. What was begun before a kill goes on. Raises `BudgetReached` where not even the smallest is paid for.
        """
        if slot == 0:
            return count
        name, meter = f"{self.problem.worker}-{slot}", self.client.meter
        begun = self.study.begun(name)
        if begun is None:
            besides = min(MEETING, ENTRANTS * most_fresh(self.problem))
            besides += self.filling.most_calls if self.filling else 0
            sizes = range(min(SMALLEST, count), count + 1)
            need = {size: besides + self.problem.rows_of(size) for size in sizes}
            room = meter.room(need[sizes.start])
            begun = self.study.begin(name, max(size for size in sizes if need[size] <= room))
        return min(begun, count)

    async def _fill(self) -> None:
        """Have all of the pools from here on."""
        if self.filling:
            self._take(await self.filling.fill())

    def _take(self, pools: Pools) -> None:
        self.problem, self.filling = replace(self.problem, pools=pools), None

    def _known(self) -> list[Trial]:
        """All finished trials, with the pools that their names are of: who filled them stores such trials after."""
        trials = self.study.trials()
        if self.filling and (pools := self.filling.frozen()):
            self._take(pools)
        return trials

    def _cut(self, racers: Sequence[Racer]) -> list[Trial]:
        """The trials of a generation that a budget ended, each estimated beside the best that came furthest."""
        scored = [racer for racer in racers if racer.results]
        leader = max((racer.scores for racer in scored), key=lambda scores: (len(scores), average(scores)), default={})
        return [racer.finished(self.problem.worker, leader) for racer in scored]

    def _begun(self, slot: int) -> int:
        """Trials of the study that count before our `slot`: all of others', and our own below it."""
        mine = self.problem.worker
        return slot + sum(trial.worker != mine for trial in self.study.trials())

    async def _generation(self, slot: int, count: int) -> list[Racer]:
        """The next candidates, none of which was tried or is being tried: the starters together, then TPE's."""
        mine = self.problem.worker
        history = [t for t in self.study.trials() if t.worker != mine or t.slot < slot]
        if not history or mine == 0:
            racers = self._racers(self.problem.starters()[slot:], history, slot, count)
            if racers:
                return racers
        await self._fill()
        suggested = self.suggested(history, SUGGESTED * count, f"{self.problem.seed}-{mine}-{slot}")
        return self._racers(suggested, history, slot, count)

    def _racers(
        self, candidates: Sequence[dict[str, str | int]], history: Sequence[Trial], slot: int, count: int
    ) -> list[Racer]:
        """The first `count` candidates that are new, claimed for this worker."""
        tried = {trial.prompt_id for trial in history}
        racers: list[Racer] = []
        for params in candidates:
            prompt = self.problem.prompt(params)
            if len(racers) < count and prompt.id not in tried and self.study.claim(prompt.id, self.problem.worker):
                racers.append(Racer(slot + len(racers), params, prompt))
                tried.add(prompt.id)
        return racers

    def suggested(self, history: Sequence[Trial], count: int, seed: str) -> list[dict[str, str | int]]:
        """Candidates after the starters, a pure function of the arguments."""
        return suggest(self.problem.space, history, count, seed)

    async def _race(self, racers: list[Racer]) -> None:
        """Run a generation through the blocks side by side, dropping what lost; then store its trials."""
        problem = self.problem
        history = [t for t in self.study.trials() if t.worker != problem.worker or t.slot < racers[0].slot]
        best = max((t for t in history if not t.lost), key=lambda t: t.value, default=None)
        few = None if racers[0].slot else self.few_calls(len(racers))
        rows = len(problem.dev)
        course = blocks(rows) if few is None else fitted(len(racers), rows, few)
        for number, block in enumerate(course):
            active = [racer for racer in racers if not racer.lost]
            # The best so far are asked first: where a budget ends the block, theirs is the part that was bought.
            leading = sorted(active, key=lambda racer: -average(racer.scores))
            await all_or_none(self._score(racer, block) for racer in leading)
            if problem.race and block is not course[-1]:
                drop(active, best.scores if best else {}, going_on(len(racers), number))
        if few is not None:  # not stored: with a higher limit the whole race is run
            self.client.meter.room(problem.rows_of(len(racers)))
        complete_scores = [r.scores for r in racers if not r.lost] + ([best.scores] if best else [])
        incumbent = max(complete_scores, key=average)
        stored = self._stored()
        for racer in racers:
            if (problem.worker, racer.slot) not in stored:
                self.study.add(racer.finished(problem.worker, incumbent), problem.pools.storable)
        progress = self.progress()  # first: it may bring the pools that the best trial's names are of
        self.watch(self.problem, progress)

    def few_calls(self, count: int) -> int | None:
        """The calls that `--max-calls` leaves to a first race of `count`, where they pay for no whole one.

        What they must pay besides is noted once, so that a run that was killed finds the same number.
        """
        problem, meter = self.problem, self.client.meter
        if meter.budget.calls is None or not problem.race or (problem.worker, 0) in self._stored():
            return None
        others = meter.total.calls - meter.spent.get("task", Total()).calls
        calls = meter.budget.calls - int(self.study.first("calls besides the search", str(others + meter.held)))
        return calls if calls < problem.rows_of(count) else None

    def _stored(self) -> set[tuple[int, int]]:
        """The worker and slot of each finished trial."""
        return {(trial.worker, trial.slot) for trial in self.study.trials()}

    async def _score(self, racer: Racer, rows: range) -> None:
        dev = [self.problem.dev[row] for row in rows]
        results = await score_rows(racer.prompt, dev, self.problem.metric, self.client)
        racer.results |= dict(zip(rows, results, strict=True))

    async def _finalists(self, trials: Sequence[Trial]) -> tuple[list[Trial], str | None]:
        """The complete trials, and the best few completed; what a budget leaves incomplete is no finalist."""
        complete = [trial for trial in trials if len(trial.scores) == len(self.problem.dev)]
        try:
            for trial in sorted(trials, key=lambda t: -t.value)[:COMPLETED]:
                if trial not in complete:
                    racer = Racer(trial.slot, trial.params, self.problem.prompt(trial.params))
                    await self._score(racer, range(len(self.problem.dev)))
                    complete.append(racer.finished(trial.worker, {}))
        except BudgetReached as reached:
            return complete, str(reached)
        return complete, None

    def progress(self) -> Progress:
        trials = self._known()
        best = max((t for t in trials if not t.lost), key=lambda t: t.value, default=None)
        bought = sum(len(trial.scores) for trial in trials)
        return Progress(len(trials), self.problem.trials, best, bought, len(trials) * len(self.problem.dev))


def furthest(trials: Sequence[Trial]) -> list[Trial]:
    """Where a budget left no trial complete: those that were scored on the most rows."""
    most = max((len(trial.scores) for trial in trials), default=0)
    return [trial for trial in trials if len(trial.scores) == most]


def drop(racers: Sequence[Racer], incumbent: Scores, most: int) -> None:
    """Mark as lost what a paired test puts below the leader, and all but the best `most`; ties go to the earlier."""
    if not racers:
        return
    ranked = sorted(racers, key=lambda racer: -average(racer.scores))
    seen = {row: incumbent[row] for row in racers[0].results} if incumbent else {}
    leader = max(ranked[0].scores, seen, key=average)
    for place, racer in enumerate(ranked):
        racer.lost = place >= most or lost(racer.scores, leader)
