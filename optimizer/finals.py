"""Which finalist wins: a play-off between those that dev cannot tell apart, then the cheapest of what is left.

Dev is small and has been searched, so who leads there is partly luck. Train rows cost no further label, and they are
new to a finalist that shows neither them nor a row of their group.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from optimizer.client import Client
from optimizer.errors import BudgetReached
from optimizer.evaluate import all_or_none, score_row
from optimizer.examples import Example
from optimizer.files import canonical
from optimizer.layouts import Demo
from optimizer.pools import to_demo
from optimizer.problem import Problem
from optimizer.race import average, blocks, lost
from optimizer.study import Trial

ENTRANTS = 3
CLOSE = 1.0  # standard errors of the paired difference within which dev has not told two finalists apart
NOISE = 0.25  # standard errors within which a cheaper candidate is as good
FEWEST = 16  # rows below which a play-off would tell nothing


@dataclass(frozen=True)
class Played:
    """One entrant's part in the play-off: its mean on dev, and on the `rows` train rows it answered."""

    params: dict[str, str | int]
    dev: float
    train: float
    rows: int


@dataclass(frozen=True)
class Outcome:
    """All trials, the finalists (complete on dev), the chosen one, and which budget ended the search, if one did.

    `playoff` holds the entrants of a play-off, if there was one.
    """

    trials: list[Trial]
    finalists: list[Trial]
    winner: Trial
    stopped: str | None
    playoff: tuple[Played, ...] = ()

    @property
    def unplayed(self) -> bool:
        """Whether a budget ended before the entrants could meet on a row."""
        return bool(self.playoff) and not any(one.rows for one in self.playoff)


async def play_off(problem: Problem, outcome: Outcome, client: Client, tell: Callable[[int, int], None]) -> Outcome:
    """The outcome with the winner chosen on dev and fresh train rows together, asked in blocks as in the race.

    `tell` gets the numbers of entrants and of rows, before the first is asked; there may be none to play. A budget that
    ends it leaves the choice to the rows that all entrants have answered.
    """
    entrants = close(outcome.finalists)
    rows = fresh_rows(problem, entrants)
    if len(entrants) < 2 or len(rows) < FEWEST:
        return outcome
    tell(len(entrants), len(rows))
    problem = without(problem, rows)
    left, played, stopped = entrants, {trial.prompt_id: trial for trial in entrants}, outcome.stopped
    for block in blocks(len(rows)):
        left, reached = await met(problem, left, rows, block, client)
        played |= {trial.prompt_id: trial for trial in left}
        if reached:
            stopped = stopped or reached
            break
        leader = max(left, key=lambda trial: trial.value)
        left = [trial for trial in left if not lost(trial.scores, leader.scores)]
        if len(left) == 1:
            break
    chosen = choose(left).prompt_id
    winner = next(trial for trial in entrants if trial.prompt_id == chosen)
    shown = tuple(told(before, played[before.prompt_id]) for before in entrants)
    return replace(outcome, winner=winner, stopped=stopped, playoff=shown)


def close(finalists: Sequence[Trial]) -> list[Trial]:
    """The best few of those that dev cannot tell from its leader, the best first."""
    best = max(finalists, key=lambda trial: (trial.value, -trial.tokens))
    near = [trial for trial in finalists if trial is best or shortfall(trial, best) <= CLOSE]
    return sorted(near, key=lambda trial: (-trial.value, trial.tokens))[:ENTRANTS]


def fresh_rows(problem: Problem, entrants: Sequence[Trial]) -> list[Example]:
    """As many train rows as dev has, at most half of train, by whole groups of which no entrant shows a row."""
    shown = {key for trial in entrants for key in fixed_inputs(problem, trial)}
    groups: dict[str, list[Example]] = {}
    for example in problem.train:
        groups.setdefault(example.group, []).append(example)
    free = [rows for _, rows in sorted(groups.items()) if not any(canonical(stripped(row)) in shown for row in rows)]
    random.Random(f"{problem.seed}-playoff").shuffle(free)
    return [row for rows in free for row in rows][: most_fresh(problem)]


def most_fresh(problem: Problem) -> int:
    """The rows of a play-off at most."""
    return min(len(problem.dev), len(problem.train) // 2)


def fixed_inputs(problem: Problem, trial: Trial) -> list[str]:
    """The inputs of the demos that a trial shows whatever it is asked."""
    name, k = str(trial.params["demos"]), int(trial.params["k"])
    demos = problem.pools.demo_sets[name].demos[:k]
    return [canonical({field.name: demo[field.name] for field in problem.task.inputs}) for demo in demos]


def stripped(example: Example) -> Demo:
    """An example's inputs as a demo of it has them."""
    return {name: value for name, value in to_demo(example).items() if name in example.inputs}


def without(problem: Problem, rows: Sequence[Example]) -> Problem:
    """The problem with the groups of `rows` out of the pool of nearest demos, as no row of test has its group there."""
    groups = {row.group for row in rows}
    out = {canonical(to_demo(row)) for row in problem.train if row.group in groups}
    pool = tuple(demo for demo in problem.pools.pool if canonical(demo) not in out)
    return replace(problem, pools=replace(problem.pools, pool=pool))


async def met(
    problem: Problem, trials: list[Trial], rows: Sequence[Example], block: range, client: Client
) -> tuple[list[Trial], str | None]:
    """The trials with their scores on a block, or on the rows of it that all had answered when a budget ended it; and
    which."""
    try:
        return await longer(problem, trials, rows, block, client), None
    except BudgetReached as reached:
        limit = str(reached)
    with contextlib.suppress(BudgetReached):
        for row in block:
            trials = await longer(problem, trials, rows, range(row, row + 1), client)
    return trials, limit


async def longer(
    problem: Problem, trials: list[Trial], rows: Sequence[Example], block: range, client: Client
) -> list[Trial]:
    """The trials with their scores on a block of the fresh rows, numbered after dev's; asked row by row."""
    prompts = [problem.prompt(trial.params) for trial in trials]
    jobs = (score_row(prompt, rows[row], problem.metric, client) for row in block for prompt in prompts)
    results, first = await all_or_none(jobs), len(problem.dev)
    scored = []
    for place, trial in enumerate(trials):
        mine = results[place :: len(trials)]
        scores = trial.scores | {first + row: result.score for row, result in zip(block, mine, strict=True)}
        scored.append(replace(trial, scores=scores, value=average(scores)))
    return scored


def told(before: Trial, after: Trial) -> Played:
    """What the play-off adds to a trial's dev score."""
    fresh = {row: score for row, score in after.scores.items() if row not in before.scores}
    return Played(dict(before.params), before.value, average(fresh), len(fresh))


def choose(finalists: Sequence[Trial]) -> Trial:
    """The cheapest in tokens whose shortfall to the best is under a quarter of their difference's standard error."""
    best = max(finalists, key=lambda trial: (trial.value, -trial.tokens))
    as_good = [trial for trial in finalists if shortfall(trial, best) <= NOISE]
    return min(as_good, key=lambda trial: (trial.tokens, -trial.value))


def shortfall(trial: Trial, best: Trial) -> float:
    """How far `trial` lies below `best`, in standard errors of the paired difference on the rows of both."""
    rows = sorted(best.scores)
    difference = np.array([best.scores[row] - trial.scores[row] for row in rows])
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
