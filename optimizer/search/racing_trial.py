"""A generation on its way through the blocks: its trials, who of them is dropped, and who is completed in the end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from optimizer.search.candidate import Candidate
from optimizer.search.playoff import is_below
from optimizer.search.race import Scores, average, is_worse, projected_score
from optimizer.search.ranking import short_enough
from optimizer.search.study import Trial
from optimizer.search.task import SearchTask
from promptstill.endpoint.allowance import Limit, LimitReached
from promptstill.prompt.prompt import Prompt
from promptstill.scoring.evaluate import ScoredRow, mean_tokens

MAX_COMPLETED = 3  # the best few, whose scores on dev are made whole


@dataclass
class RacingTrial:
    """A trial on its way through the blocks."""

    slot: int
    candidate: Candidate
    prompt: Prompt
    results: dict[int, ScoredRow] = field(default_factory=dict)
    lost: bool = False
    over: bool = False  # its prompts are longer than the user allows

    def hold_to(self, most: float) -> None:
        """Drop it where its prompts have more tokens than `most` in the mean of the rows asked."""
        if mean_tokens(list(self.results.values()))[0] > most:
            self.lost = self.over = True

    @property
    def scores(self) -> dict[int, float]:
        return {row: result.score for row, result in self.results.items()}

    def finish(self, worker: int, incumbent: Scores) -> Trial:
        """The trial as it is stored; where it was dropped early, its score is projected beside the incumbent's; it is
        0 where its prompts are too long."""
        results = list(self.results.values())
        return Trial(
            worker,
            self.slot,
            self.candidate,
            self.prompt.id,
            0.0 if self.over else projected_score(self.scores, incumbent),
            self.scores,
            self.lost,
            sum(result.unparsed for result in results),
            *mean_tokens(results),
            median(result.seconds for result in results),
            {row: one.labels.answer for row, one in self.results.items() if one.labels},
        )


def drop_losers(racing: Sequence[RacingTrial], incumbent: Scores, most: int) -> None:
    """Mark as lost what a paired test puts below the leader, and all but the best `most`; ties go to the earlier.

    The leader may be a trial of an earlier generation, so that a weak generation does not race to its end. A race that
    was fitted to few calls has left it without some rows: it is compared on those that it has.
    """
    if not racing:
        return
    ranked = by_lead(racing, incumbent)
    best = ranked[0].scores
    seen = {row: incumbent[row] for row in best if row in incumbent}
    leader = seen if average(seen) > average({row: best[row] for row in seen}) else best
    for place, trial in enumerate(ranked):
        trial.lost = place >= most or is_worse(trial.scores, leader)


def finish_trials(racing: Sequence[RacingTrial], worker: int, best: Scores | None = None) -> list[Trial]:
    """The trials of a race, as far as they were asked anything; those of fewer rows are projected beside the best of
    those that have most, since a mean of few rows is luck. best: scores of an earlier generation's best."""
    asked = [trial for trial in racing if trial.results]
    incumbent = most_asked([best or {}, *(trial.scores for trial in asked)])
    return [trial.finish(worker, incumbent) for trial in asked]


def rows_read(trials: Sequence[Trial], worker: int, before: int) -> dict[Candidate, int]:
    """How many of the first rows of dev a worker has asked each prompt of in its slots before one, whatever its bias;
    by the candidate without one."""
    read: dict[Candidate, int] = {}
    for trial in (one for one in trials if one.worker == worker and one.slot < before):
        plain = trial.candidate.uncalibrated
        read[plain] = max(read.get(plain, 0), len(trial.scores))
    return read


def most_asked(scores: Sequence[Scores]) -> Scores:
    """Those of the most rows; of equals the best."""
    return max(scores, key=lambda one: (len(one), average(one)))


def by_lead(racing: Sequence[RacingTrial], incumbent: Scores) -> list[RacingTrial]:
    """The best first, each by the rows that it shares with the one of most rows: some were told rows that others were
    not asked."""
    longest = most_asked([incumbent, *(trial.scores for trial in racing)])
    return sorted(racing, key=lambda trial: -lead(trial.scores, longest))


def lead(scores: Scores, others: Scores) -> float:
    """How far scores are ahead of others on the rows of both."""
    common = sorted(scores.keys() & others.keys())
    return average({row: scores[row] for row in common}) - average({row: others[row] for row in common})


async def complete_finalists(
    task: SearchTask,
    trials: Sequence[Trial],
    ask: Callable[[RacingTrial], Awaitable[None]],
    count_told: Callable[[RacingTrial], Awaitable[int]],
) -> tuple[list[Trial], Limit | None]:
    """The complete trials, and the best few completed that may be as good, of those that were raced to the end; beside
    each the trials of its prompt with another bias, where these take no call. What a limit leaves incomplete is none.

    ask: scores a trial on all of dev. count_told: how many of these rows take no call.
    """
    trials = short_enough(trials, task.most_tokens)
    complete = {trial.prompt_id: trial for trial in trials if len(trial.scores) == len(task.dev)}

    async def finish(racing: RacingTrial, worker: int) -> None:
        await ask(racing)
        complete[racing.prompt.id] = racing.finish(worker, {})

    reached: Limit | None = None
    try:
        for trial in ranked(trials)[:MAX_COMPLETED]:
            if trial.prompt_id not in complete and not any(is_below(trial, other) for other in complete.values()):
                await finish(again(task, trial), trial.worker)
    except LimitReached as limited:
        reached = limited.limit
    prompts = {trial.candidate.uncalibrated for trial in complete.values()}
    for trial in trials:
        if trial.prompt_id not in complete and trial.candidate.uncalibrated in prompts:
            racing = again(task, trial)
            if await count_told(racing) == len(task.dev):
                await finish(racing, trial.worker)
    return list(complete.values()), reached


def again(task: SearchTask, trial: Trial) -> RacingTrial:
    """A stored trial as one that runs, without its results."""
    return RacingTrial(trial.slot, trial.candidate, task.prompt(trial.candidate))


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """Those that were raced to the end, the best first; all, where none was."""
    return sorted([trial for trial in trials if not trial.lost] or trials, key=lambda trial: -trial.value)


def missing_rows(task: SearchTask, trials: Sequence[Trial]) -> int:
    """The rows of dev that the best trial has not been asked."""
    return len(task.dev) - len(ranked(trials)[0].scores) if trials else 0
