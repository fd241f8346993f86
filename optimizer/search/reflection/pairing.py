"""The test that a child must pass: it answers train rows that its parent answers too, and must be better on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, sqrt
from statistics import fmean, stdev

from optimizer.search.candidate import Candidate
from optimizer.search.leave_out import LeaveOut, demo_inputs
from optimizer.search.playoff import fixed_inputs
from optimizer.search.space import Addition, inherit_bias
from optimizer.search.study import Trial
from optimizer.search.task import SearchTask
from promptstill.endpoint.client import Client
from promptstill.files import canonical_json
from promptstill.scoring.evaluate import ScoredRow, gather_or_cancel, score_row
from promptstill.task.examples import Example

PAIRED_ROWS, FEWEST_PAIRED = 16, 8  # by which a step's children are compared with their parents
LEAST_ERRORS = 0.75  # standard errors by which a child must be better; a race drops what is not


@dataclass(frozen=True)
class Minibatch:
    """Train rows, asked as the play-off asks them: each without itself and its group among the demos."""

    task: SearchTask
    rows: Sequence[Example]
    client: Client

    async def ask(self, trial: Trial, rows: Sequence[Example], instruction: str | None = None) -> list[ScoredRow]:
        """The results of a trial's candidate on rows; instruction: in place of its own."""
        task, candidate = self.task, trial.candidate
        if instruction is not None:
            task, candidate = with_child(task, candidate, instruction)
        left_out, whole = LeaveOut(task), task.prompt(candidate)
        return await gather_or_cancel(
            score_row(left_out.prompt(task, candidate, whole, row), row, task.metric, self.client) for row in rows
        )

    async def lead(self, trial: Trial, instruction: str) -> float:
        """By how many standard errors a child is better than its parent; of several children that is asked once."""
        child, parent = await self.ask(trial, self.rows, instruction), await self.ask(trial, self.rows)
        return errors_ahead([one.score for one in child], [one.score for one in parent])


def with_child(task: SearchTask, parent: Candidate, instruction: str) -> tuple[SearchTask, Candidate]:
    """The parent with another instruction, and the task in which it has the parent's bias, if that is calibrated."""
    grown = replace(task, space=task.space.grow(Addition((instruction,))))
    child = replace(parent, instruction=grown.space.instructions.index(instruction))
    prompts = (grown.plain_prompt(parent), grown.plain_prompt(child))
    return replace(grown, space=inherit_bias(grown.space, *prompts, parent.calibration)), child


def errors_ahead(child: Sequence[float], parent: Sequence[float]) -> float:
    """The child's mean minus the parent's, in standard errors of their paired differences."""
    differences = [one - other for one, other in zip(child, parent, strict=True)]
    mean, error = fmean(differences), stdev(differences) / sqrt(len(differences))
    return mean / error if error else inf if mean > 0 else min(mean, 0.0)


def fresh_rows(task: SearchTask, trials: Sequence[Trial], rows: Sequence[Example]) -> list[Example]:
    """The rows of groups of which no trial shows a row whatever it is asked."""
    shown = {key for trial in trials for key in fixed_inputs(task, trial)}
    groups = {row.group for row in task.train if canonical_json(demo_inputs(row)) in shown}
    return [row for row in rows if row.group not in groups]
