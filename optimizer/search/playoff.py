"""Which finalist wins: a play-off between those that dev cannot tell apart, then the cheapest of what is left.

Dev is small and has been searched, so who leads there is partly luck: of several equals the luckiest looks best. Train
rows cost no further label, and they are new to a finalist that shows neither them nor a row of their group.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from optimizer.search.baseline import rows_shown
from optimizer.search.candidate import Candidate
from optimizer.search.leave_out import LeaveOut, demo_inputs
from optimizer.search.race import average, blocks, is_worse
from optimizer.search.ranking import by_split
from optimizer.search.reflection.rows import reflection_rows
from optimizer.search.study import Trial
from optimizer.search.task import SearchTask
from promptstill.endpoint.allowance import Limit, LimitReached
from promptstill.endpoint.client import Client
from promptstill.files import canonical_json
from promptstill.prompt.layouts import OWN
from promptstill.prompt.prompt import Prompt
from promptstill.scoring.evaluate import gather_or_cancel, score_row
from promptstill.task.examples import Example

MAX_CONTENDERS = 3
CONTENDER_ERRORS = 1.0  # standard errors of the paired difference within which dev does not separate two finalists
TIE_ERRORS = 0.25  # standard errors within which a cheaper candidate is as good
MIN_ROWS = 16  # rows below which a play-off would tell nothing
MOST_CALLS, PART = 100, 4  # that a generation leaves to the play-off at most: so many, this part of what is left


@dataclass(frozen=True)
class PlayoffEntry:
    """One entrant's part in the play-off: its mean on dev, and on the `rows` train rows it answered."""

    candidate: Candidate
    dev: float
    train: float
    rows: int


@dataclass(frozen=True)
class SearchOutcome:
    """All trials, the finalists (complete on dev), the chosen one, and which limit ended the search, if one did: an
    effort is none, since a search ends by it as it should.

    `playoff` holds the entrants of a play-off, if there was one.
    """

    trials: list[Trial]
    finalists: list[Trial]
    winner: Trial
    stopped: Limit | None
    playoff: tuple[PlayoffEntry, ...] = ()

    @property
    def unplayed(self) -> bool:
        """Whether a limit ended it before the entrants could answer a row."""
        return bool(self.playoff) and not any(one.rows for one in self.playoff)


async def play_off(
    task: SearchTask, outcome: SearchOutcome, client: Client, tell: Callable[[int, int], None]
) -> SearchOutcome:
    """The outcome with the winner chosen on dev and fresh train rows together, asked in blocks as in the race. Where
    dev's rows are train's, no row is fresh: dev has chosen. So it has where a cheaper winner may be worse than others.

    `tell` gets the numbers of entrants and of rows, before the first is asked; there may be none to play. A limit that
    ends it leaves the choice to the rows that all entrants have answered.
    """
    if task.shared or task.within:
        return outcome
    entrants = contenders(outcome.finalists)
    rows = playoff_rows(task, entrants)
    if len(entrants) < 2 or len(rows) < MIN_ROWS:
        return outcome
    tell(len(entrants), len(rows))
    prompts = {trial.prompt_id: task.prompt(trial.candidate) for trial in entrants}
    field = PlayoffField(task, rows, prompts, LeaveOut(task), client)
    left, played, stopped = entrants, {trial.prompt_id: trial for trial in entrants}, outcome.stopped
    for block in blocks(len(rows)):
        left, reached = await field.play_block(left, block)
        played |= {trial.prompt_id: trial for trial in left}
        if reached:
            stopped = stopped or reached
            break
        # Dev and train rows together: a lead on the new rows alone would be luck again.
        leader = max(left, key=lambda trial: trial.value)
        left = [trial for trial in left if not is_worse(trial.scores, leader.scores)]
        if len(left) == 1:
            break
    chosen = choose_winner(left).prompt_id
    winner = next(trial for trial in entrants if trial.prompt_id == chosen)
    shown = tuple(summarize(before, played[before.prompt_id], field) for before in entrants)
    return replace(outcome, winner=winner, stopped=cut_short(stopped), playoff=shown)


def cut_short(reached: Limit | None) -> Limit | None:
    """The limit, if one ended a search before its time."""
    return None if reached and reached.kind == "effort" else reached


def contenders(finalists: Sequence[Trial]) -> list[Trial]:
    """The best few of those that dev cannot tell from its leader, the best first."""
    best = max(finalists, key=lambda trial: (trial.value, -trial.tokens))
    near = [trial for trial in finalists if trial is best or not is_below(trial, best)]
    return sorted(near, key=lambda trial: (-trial.value, trial.tokens))[:MAX_CONTENDERS]


def playoff_rows(task: SearchTask, entrants: Sequence[Trial]) -> list[Example]:
    """As many train rows as dev has, at most half of train, by whole groups of which no entrant shows a row.

    Those from which reflection and calibration learn come last."""
    shown = {key for trial in entrants for key in fixed_inputs(task, trial)}
    groups: dict[str, list[Example]] = {}
    for example in task.train:
        groups.setdefault(example.group, []).append(example)
    free = [
        rows for _, rows in sorted(groups.items()) if not any(canonical_json(demo_inputs(row)) in shown for row in rows)
    ]
    random.Random(f"{task.seed}-playoff").shuffle(free)
    taught = {row.group for row in reflection_rows(task.train, task.seed)}
    free.sort(key=lambda rows: rows[0].group in taught)
    return [row for rows in free for row in rows][: max_playoff_rows(task)]


def max_playoff_rows(task: SearchTask) -> int:
    """The rows of a play-off at most."""
    return 0 if task.shared else min(len(task.dev), len(task.train) // 2)


def playoff_calls(task: SearchTask, room: float) -> int:
    """The calls that a generation with so much room leaves to the play-off; of little room the fewest that tell."""
    part = max(MAX_CONTENDERS * MIN_ROWS, min(room, PART * MOST_CALLS) / PART)
    return int(min(MAX_CONTENDERS * max_playoff_rows(task), MOST_CALLS, part))


def fixed_inputs(task: SearchTask, trial: Trial) -> list[str]:
    """The inputs of the demos that a trial shows whatever it is asked."""
    candidate = trial.candidate
    if task.own and candidate.layout == OWN:
        return [canonical_json(demo_inputs(row)) for row in rows_shown(task.own, task.train)]
    demos = task.space.demo_sets[candidate.demos].demos[: candidate.k]
    return [canonical_json({field.name: demo[field.name] for field in task.task.inputs}) for demo in demos]


@dataclass(frozen=True)
class PlayoffField:
    """Where entrants meet: the fresh rows, each entrant's prompt, and what of it a row is asked without."""

    task: SearchTask
    rows: Sequence[Example]
    prompts: Mapping[str, Prompt]
    left_out: LeaveOut
    client: Client

    def prompt(self, trial: Trial, row: Example) -> Prompt:
        """An entrant's prompt for a row."""
        return self.left_out.prompt(self.task, trial.candidate, self.prompts[trial.prompt_id], row)

    async def play_block(self, trials: list[Trial], block: range) -> tuple[list[Trial], Limit | None]:
        """The trials with their scores on a block, or on the rows of it that all had answered when a limit ended it;
        and which."""
        try:
            return await self.score_more(trials, block), None
        except LimitReached as reached:
            limit = reached.limit
        with contextlib.suppress(LimitReached):
            for row in block:
                trials = await self.score_more(trials, range(row, row + 1))
        return trials, limit

    async def score_more(self, trials: list[Trial], block: range) -> list[Trial]:
        """The trials with their scores on a block of the fresh rows, numbered after dev's; asked row by row.

        A row's nearest demos are picked without those of its own group, as no row of test has its group in the pool.
        """
        asked = ((self.rows[row], trial) for row in block for trial in trials)
        metric, client = self.task.metric, self.client
        jobs = (score_row(self.prompt(trial, row), row, metric, client) for row, trial in asked)
        results, first = await gather_or_cancel(jobs), len(self.task.dev)
        scored = []
        for place, trial in enumerate(trials):
            mine = results[place :: len(trials)]
            scores = trial.scores | {first + row: result.score for row, result in zip(block, mine, strict=True)}
            labels = {first + row: one.labels.answer for row, one in zip(block, mine, strict=True) if one.labels}
            more = replace(trial, scores=scores, value=average(scores), labels=trial.labels | labels)
            scored.append(by_split(metric, [*self.task.dev, *self.rows], more))
        return scored


def summarize(before: Trial, after: Trial, field: PlayoffField) -> PlayoffEntry:
    """What the play-off adds to a trial's dev score."""
    fresh = {row: score for row, score in after.scores.items() if row not in before.scores}
    labels = {row: label for row, label in after.labels.items() if row in fresh}
    alone = replace(after, scores=fresh, value=average(fresh), labels=labels)
    train = by_split(field.task.metric, [*field.task.dev, *field.rows], alone).value
    return PlayoffEntry(before.candidate, before.value, train, len(fresh))


def choose_winner(finalists: Sequence[Trial], within: float = 0.0) -> Trial:
    """The cheapest in tokens whose shortfall to the best is at most `within`, or under a quarter of their difference's
    standard error."""
    best = max(finalists, key=lambda trial: (trial.value, -trial.tokens))
    as_good = [
        trial
        for trial in finalists
        if best.value - trial.value <= within or standard_errors_below(trial, best) <= TIE_ERRORS
    ]
    return min(as_good, key=lambda trial: (trial.tokens, -trial.value))


def is_below(trial: Trial, best: Trial) -> bool:
    """Whether the rows of both tell a trial from a better one."""
    return standard_errors_below(trial, best) > CONTENDER_ERRORS


def standard_errors_below(trial: Trial, best: Trial) -> float:
    """How far `trial` lies below `best`, in standard errors of the paired difference on the rows of both; 0 where they
    have none in common."""
    rows = sorted(best.scores.keys() & trial.scores.keys())
    if not rows:
        return 0.0
    difference = np.array([best.row_values[row] - trial.row_values[row] for row in rows])
    error = float(difference.std(ddof=1) / np.sqrt(len(rows))) if len(rows) > 1 else 0.0
    mean = float(difference.mean())
    return mean / error if error > 0 else (0.0 if mean <= 0 else float("inf"))


def pareto(trials: Sequence[Trial]) -> list[Trial]:
    """The complete trials that no other beats in both score and tokens, the cheapest first."""
    front: list[Trial] = []
    for trial in sorted(trials, key=lambda t: (t.tokens, -t.value)):
        if not front or trial.value > front[-1].value:
            front.append(trial)
    return front
