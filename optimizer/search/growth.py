"""How the space grows: its sources are asked in rounds, and what they add is kept in the study for all who share it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

from optimizer.search.calibrating import known_biases
from optimizer.search.sources.proposals import proposals_line
from optimizer.search.sources.source import BEFORE_FIRST_RACE, Source
from optimizer.search.space import Addition, Space
from optimizer.search.study import StoredStudy, Trial
from promptstill.endpoint.allowance import LimitReached
from promptstill.endpoint.client import Client
from promptstill.errors import PromptstillError, UserError
from promptstill.events import Say
from promptstill.files import read_json, write_json
from promptstill.scoring.evaluate import ScoredRow, gather_or_cancel
from promptstill.text import plural


class SpaceGrowth:
    """The space of one study. The first process to finish a round decides what the round added.

    client: what the sources ask. path: pools.json, where the run shows its space. untimed: marks work that no forecast
    of the search counts.
    """

    def __init__(
        self,
        study: StoredStudy,
        sources: Mapping[str, Source],
        client: Client,
        path: Path,
        say: Say = lambda line: None,
        untimed: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.study, self.sources, self.client = study, sources, client
        self.path, self.say, self.untimed = path, say, untimed
        self._first: Space | None = None

    async def start(self, empty: Space) -> Space:
        """The space before the first race, and what later rounds have added to it already.

        `empty` has the pool and the layouts. Raises `UserError` where the study began at an endpoint that does more.
        """
        additions = await self._ask(BEFORE_FIRST_RACE, empty, (), ())
        first = empty
        for addition in additions.values():
            first = first.grow(addition)
        first = replace(first, given=len(first.instructions))
        first = Space.from_json(json.loads(self.study.first_note("space", json.dumps(first.to_json()))))
        refuse_lesser_endpoint(empty, first)
        self._first = first
        return self.latest()

    def latest(self) -> Space:
        """The space with all rounds that any process of the study has finished, and all biases that one measured."""
        if self._first is None:
            raise RuntimeError("start comes first")
        space = self._first
        for additions in self._rounds():
            for addition in additions:
                space = space.grow(addition)
        space = replace(space, biases=known_biases(self.study))
        if not self.path.is_file() or read_json(self.path) != json.loads(json.dumps(space.to_json())):
            write_json(self.path, space.to_json(), private=True)
        return space

    def max_calls(self) -> int:
        """The calls that the next round takes at most."""
        return sum(source.max_calls(count) for _, source, count in self._due(self._next_round()))

    async def grow(self, history: Sequence[Trial], feedback: Sequence[ScoredRow] = ()) -> Space:
        """The space after the next round, if there is one for any source."""
        number, space = self._next_round(), self.latest()
        due = list(self._due(number))
        if not due:
            return space
        asked = ", ".join(source.describe(count) for _, source, count in due)
        self.say(f"more choices (usually 10-60 s): {asked}")
        with self.untimed():
            additions = await self._ask(number, space, history, feedback)
        self.study.first_note(
            addition_topic(number), json.dumps({name: one.to_json() for name, one in additions.items()})
        )
        grown = self.latest()
        proposed = sum(len(one.instructions) for one in additions.values())
        refused = [reason for one in additions.values() for reason in one.refused]
        self.say(
            f"to choose from: {plural(len(grown.instructions), 'instruction')}, {len(grown.demo_sets)} demo sets of up "
            f"to {max(grown.sizes)}, {plural(len(grown.layouts), 'layout')}{proposals_line(refused, proposed)}"
        )
        return grown

    def _next_round(self) -> int:
        return BEFORE_FIRST_RACE + 1 + sum(1 for _ in self._rounds())

    def _rounds(self) -> Iterator[list[Addition]]:
        """What each finished round added."""
        number = BEFORE_FIRST_RACE + 1
        while (note := self.study.note(addition_topic(number))) is not None:
            yield [Addition.from_json(value) for value in json.loads(note).values()]
            number += 1

    def _due(self, number: int) -> Iterator[tuple[str, Source, int]]:
        for name, source in self.sources.items():
            if count := source.count(number):
                yield name, source, count

    async def _ask(
        self, number: int, space: Space, history: Sequence[Trial], feedback: Sequence[ScoredRow]
    ) -> dict[str, Addition]:
        """Every source's addition, asked side by side, each with as many calls as it said it takes at most."""

        async def ask(name: str, source: Source, count: int) -> Addition:
            try:
                client = self.client.share(source.max_calls(count))
                return await source.propose(space, history, feedback, count, client)
            except (LimitReached, PromptstillError):
                raise
            except Exception as error:  # the source's own failure: it costs its share, never the run
                return Addition(refused=(f"lost: the source {name} failed ({type(error).__name__}: {error})",))

        due = list(self._due(number))
        answers = await gather_or_cancel(ask(*one) for one in due)
        return {name: answer for (name, _, _), answer in zip(due, answers, strict=True)}


def addition_topic(number: int) -> str:
    """The study's note of what round `number` added."""
    return f"addition {number}"


def refuse_lesser_endpoint(here: Space, first: Space) -> None:
    """A search goes on only at an endpoint that can do what it began with. Raises `UserError`."""
    lacking = [layout for layout in first.layouts if layout not in here.layouts]
    lacking += ["structured outputs"] if here.structured < first.structured else []
    lacking += ["what calibration needs"] if len(here.calibrations) < len(first.calibrations) else []
    lacking += ["a way to end thinking"] if "off" in first.thinking and "off" not in here.thinking else []
    way = "Go on at an endpoint like the first, or start a new run without --resume."
    if lacking:
        what = "The endpoint can do less than the one on which this search began."
        raise UserError(what, f"It lacks {', '.join(lacking)}.", way)
    if here.dialect != first.dialect:
        then, now = (str(one.dialect) or "all as vLLM takes it" for one in (first, here))
        raise UserError(
            "The endpoint takes other requests than the one on which this search began.",
            f"Then: {then}; now: {now}.",
            way,
        )
