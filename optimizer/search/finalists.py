"""Who may win: the complete trials, and the best few that are completed on dev."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from optimizer.search.playoff import is_below
from optimizer.search.racing_trial import RacingTrial
from optimizer.search.ranking import short_enough
from optimizer.search.study import Trial
from optimizer.search.task import SearchTask
from promptstill.endpoint.allowance import Limit, LimitReached

MAX_COMPLETED = 3  # the best few, whose scores on dev are made whole


async def complete_finalists(
    task: SearchTask, trials: Sequence[Trial], ask: Callable[[RacingTrial], Awaitable[None]]
) -> tuple[list[Trial], Limit | None]:
    """The complete trials, and the best few completed that may be as good; what a limit leaves incomplete is none.

    ask: scores a trial on all of dev.
    """
    trials = short_enough(trials, task.most_tokens)
    complete = [trial for trial in trials if len(trial.scores) == len(task.dev)]
    try:
        for trial in sorted(trials, key=lambda t: -t.value)[:MAX_COMPLETED]:
            if trial not in complete and not any(is_below(trial, other) for other in complete):
                racing = RacingTrial(trial.slot, trial.candidate, task.prompt(trial.candidate))
                await ask(racing)
                complete.append(racing.finish(trial.worker, {}))
    except LimitReached as reached:
        return complete, reached.limit
    return complete, None


def missing_rows(task: SearchTask, trials: Sequence[Trial]) -> int:
    """The rows of dev that the best trial has not been asked."""
    best = max((trial for trial in trials if not trial.lost), key=lambda trial: trial.value, default=None)
    return len(task.dev) - len(best.scores) if best else 0
