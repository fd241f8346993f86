"""The interface of a proposal source: what adds instructions and demos to the search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from optimizer.search.space import Addition, Space
from optimizer.search.study import Trial
from optimizer.search.task import SearchTask
from promptstill.endpoint.client import Client
from promptstill.engine.source import REMOTE_CONTEXT
from promptstill.prompt.layouts.task import Task
from promptstill.task.examples import Example
from promptstill.task.recipe import Metric

Only = Literal["everything", "instructions", "demos"]
BEFORE_FIRST_RACE = 0  # the round in which a source must make no call


@dataclass(frozen=True)
class SourceContext:
    """What every source may use. Train rows alone: dev chooses and test reports, so neither may stand in a prompt.
    judging: dev's rows where they are not train's, for refusing what holds one of them and for nothing else.

    instructions: the recipe's own besides the signature's. proposer: the model to ask for instructions, None for the
    task's own; `proposals` are to be asked for in all. proposer_client: asks it, where it is at another endpoint. only:
    what may change.
    """

    task: Task
    train: Sequence[Example]
    metric: Metric
    instructions: Sequence[str]
    seed: int
    proposer: str | None = None
    proposals: int = 0
    proposer_client: Client | None = None
    context_tokens: int = REMOTE_CONTEXT
    only: Only = "everything"
    judging: Sequence[Example] = ()

    def search_task(self, space: Space) -> SearchTask:
        """The task in which a source asks candidates of a space, as a race asks them. It has no dev rows."""
        task = replace(self.task, structured=space.structured, dialect=space.dialect)
        return SearchTask(task, space, self.train, (), self.metric, self.seed, 0)


class Source(Protocol):
    """Adds choices to the space. Made anew by each process; what it adds is kept in the study.

    For a seed and a deterministic endpoint it adds the same again. Its calls go through the client that it is handed,
    so that they are stored, counted and limited: one beyond `max_calls` raises `ShareSpent`. It may raise
    `LimitReached` and `PromptstillError`, which concern the whole run; any other error loses only its own choices.

    SOURCES makes it with the context as its only argument.
    """

    def count(self, number: int, earlier: Sequence[Addition] | None = None) -> int:
        """How many choices to ask for in round `number`; 0 for none. Round 0 comes before the first race.

        earlier: what the source has added in each later round that asked it; None where only the most is asked for.
        """

    def describe(self, count: int) -> str:
        """What will be asked for, for the terminal."""

    def max_calls(self, count: int) -> int:
        """The calls that asking for so many takes at most."""

    async def propose(self, space: Space, history: Sequence[Trial], count: int, client: Client) -> Addition:
        """New choices for `space`, `count` at most where they are proposals of a model.

        history: the trials that have ended.
        """
