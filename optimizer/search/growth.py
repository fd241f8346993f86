"""How the space grows: its sources are asked in rounds, and what they add is kept in the study for all who share it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import product
from pathlib import Path

from optimizer.search.calibrating import known_biases
from optimizer.search.candidate import Candidate
from optimizer.search.sources.proposals import proposals_line
from optimizer.search.sources.source import BEFORE_FIRST_RACE, Source
from optimizer.search.space import Addition, Space, earlier_version
from optimizer.search.study import StoredStudy, Trial
from promptstill.endpoint.allowance import LimitReached
from promptstill.endpoint.client import Client
from promptstill.errors import PromptstillError, UserError
from promptstill.events import Say
from promptstill.files import read_json, write_json
from promptstill.scoring.evaluate import gather_or_cancel
from promptstill.text import plural

MOST_HALVINGS = 2


class SpaceGrowth:
    """The space of one study. The first process to finish a round decides what the round added.

    client: what the sources ask. path: pools.json, where the run shows its space. untimed: marks work that no forecast
    of the search counts. alone: the source that is asked by itself where those that learn more are not paid for.
    """

    def __init__(
        self,
        study: StoredStudy,
        sources: Mapping[str, Source],
        client: Client,
        path: Path,
        say: Say = lambda line: None,
        untimed: Callable[[], AbstractContextManager[None]] = nullcontext,
        alone: str | None = None,
    ) -> None:
        self.study, self.sources, self.client = study, sources, client
        self.path, self.say, self.untimed, self.alone = path, say, untimed, alone
        self._first: Space | None = None

    async def start(self, empty: Space) -> Space:
        """The space before the first race, and what later rounds have added to it already.

        `empty` has the pool and the layouts. Raises `UserError` where the study began at an endpoint that does more.
        """
        counts = {name: source.count(BEFORE_FIRST_RACE) for name, source in self.sources.items()}
        due = [(name, self.sources[name], count) for name, count in counts.items() if count]
        additions = await self._ask(due, empty, ())
        first = empty
        for addition in additions.values():
            first = first.grow(addition)
        first = replace(first, given=len(first.instructions))
        noted = json.loads(self.study.first_note("space", json.dumps(first.to_json())))
        if "calibrations" not in noted:
            raise earlier_version("calibration")
        first = Space.from_json(noted)
        refuse_lesser_endpoint(empty, first)
        self._first = first
        return self.latest()

    def latest(self) -> Space:
        """The space with all rounds that any process of the study has finished."""
        space = self._after(self._rounds())
        if not self.path.is_file() or read_json(self.path) != json.loads(json.dumps(space.to_json())):
            write_json(self.path, space.to_json(), private=True)
        return space

    @property
    def begun(self) -> bool:
        """Whether a round has ended."""
        return any(True for _ in self._rounds())

    def max_calls(self, rounds: int = 1) -> int:
        """The calls that so many rounds from the next one take at most."""
        ended = list(self._rounds())
        return sum(calls_of(self._due(ended, later=later)) for later in range(rounds))

    async def grow(self, history: Sequence[Trial], generation: str) -> Space:
        """The space for a generation: after the next round, if there is one for any source.

        The round is noted under the generation's name, so that after a kill the same generation has the same choices,
        whatever later ones had. Another process may have tried choices beyond these meanwhile: then all are there.
        """
        self.fit(generation, math.inf)
        number, halvings, names = read_plan(str(self.study.note(round_topic(generation))))
        rounds = list(self._rounds())[:number]
        if len(rounds) < number and (due := list(self._due(rounds, halvings, names))):
            await self._add_round(number, due, history)
            rounds = list(self._rounds())[:number]
        space = self._after(rounds)
        return space if all(knows(space, trial) for trial in history) else self.latest()

    def fit(self, generation: str, room: float) -> int:
        """Note which round comes before a generation, how often the counts of its sources are halved, and which of them
        are asked, so that it takes `room` calls at most; where even that is too much, none comes. The calls that it
        takes at most.

        The first in the table wait for a later round where not all are paid for: what comes last learns most. Where not
        even that is paid for, `alone` is asked by itself.
        """
        rounds = list(self._rounds())
        due = [name for name, _, _ in self._due(rounds)]
        asked = [*(due[start:] for start in range(len(due))), [name for name in due if name == self.alone]]
        plans = product(filter(None, asked), range(MOST_HALVINGS + 1))
        fitting = (
            (halvings, names) for names, halvings in plans if calls_of(self._due(rounds, halvings, names)) <= room
        )
        fits = next(fitting, None)
        plan = (len(rounds) + 1, *fits) if fits else (len(rounds), 0, due)
        number, halvings, names = read_plan(self.study.first_note(round_topic(generation), json.dumps(plan)))
        return calls_of(self._due(rounds, halvings, names)) if number > len(rounds) else 0

    def untried(self, space: Space, history: Sequence[Trial]) -> list[Candidate]:
        """The candidates with which instructions of the space that no trial has tried improve on another."""
        tried = {trial.candidate.instruction for trial in history}
        places = {text: place for place, text in enumerate(space.instructions)}
        found = []
        for one in (one for additions in self._rounds() for one in additions.values() if one.origins):
            for text, origin in zip(one.instructions, one.origins, strict=True):
                if (place := places.get(text, -1)) >= 0 and place not in tried:
                    found.append(Candidate.from_params({**origin, "instruction": place}))
        return found

    def untried_sets(self, space: Space, history: Sequence[Trial]) -> list[Candidate]:
        """The same of demo sets."""
        sets = space.demo_sets.keys() - {trial.candidate.demos for trial in history}
        tries = (
            Candidate.from_params(one) for round_ in self._rounds() for added in round_.values() for one in added.tries
        )
        return [one for one in tries if one.demos in sets]

    def learns(self, space: Space, history: Sequence[Trial]) -> bool:
        """Whether an instruction that improves on another leads or is yet to be tried, and its source goes on."""
        rounds, texts = list(self._rounds()), space.instructions
        won = [(name, one) for additions in rounds for name, one in additions.items() if one.origins]
        children = {text for _, one in won for text in one.instructions}
        places = {place for place, text in enumerate(texts) if text in children}
        leader = max((one for one in history if not one.lost), key=lambda one: one.value, default=None)
        promising = {leader.candidate.instruction} if leader else set[int]()
        promising |= places - {one.candidate.instruction for one in history}
        return bool(places & promising) and any(due == name for due, _, _ in self._due(rounds) for name, _ in won)

    def goes_on(self) -> bool:
        """Whether a source is due in the next round."""
        return any(True for _ in self._due(list(self._rounds())))

    async def _add_round(
        self,
        number: int,
        due: Sequence[tuple[str, Source, int]],
        history: Sequence[Trial],
    ) -> None:
        """Ask the sources of a round, and note what the first process to finish it adds."""
        asked = ", ".join(source.describe(count) for _, source, count in due)
        self.say(f"more choices (usually 10 s to 3 min): {asked}")
        with self.untimed():
            additions = await self._ask(due, self.latest(), history)
        self.study.first_note(
            addition_topic(number), json.dumps({name: one.to_json() for name, one in additions.items()})
        )
        grown = self.latest()
        proposed = sum(len(one.instructions) for one in additions.values())
        refused = [reason for one in additions.values() for reason in one.refused]
        line = proposals_line(refused, proposed, any_yet=len(grown.instructions) > grown.given)
        self.say(
            f"to choose from: {plural(len(grown.instructions), 'instruction')}, {len(grown.demo_sets)} demo sets of up "
            f"to {max(grown.sizes)}, {plural(len(grown.layouts), 'layout')}{line}"
        )

    def _after(self, rounds: Iterable[Mapping[str, Addition]]) -> Space:
        """The space with what these rounds added, and all biases that a process of the study has measured."""
        if self._first is None:
            raise RuntimeError("start comes first")
        space = self._first
        for additions in rounds:
            for addition in additions.values():
                space = space.grow(addition)
        return replace(space, biases=known_biases(self.study))

    def _rounds(self) -> Iterator[dict[str, Addition]]:
        """What each finished round added, by source."""
        number = BEFORE_FIRST_RACE + 1
        while (note := self.study.note(addition_topic(number))) is not None:
            yield {name: Addition.from_json(value) for name, value in json.loads(note).items()}
            number += 1

    def _due(
        self,
        rounds: Sequence[Mapping[str, Addition]],
        halvings: int = 0,
        names: Collection[str] | None = None,
        later: int = 0,
    ) -> Iterator[tuple[str, Source, int]]:
        """The sources that the round after these asks, and for how many choices each, halved so often; of a round that
        comes `later`, for how many at most, whatever becomes of those before it. names: those asked; None for all."""
        for name, source in self.sources.items():
            if names is not None and name not in names:
                continue
            earlier = None if later else [additions[name] for additions in rounds if name in additions]
            if count := source.count(BEFORE_FIRST_RACE + 1 + len(rounds) + later, earlier):
                yield name, source, max(1, count >> halvings)

    async def _ask(
        self,
        due: Sequence[tuple[str, Source, int]],
        space: Space,
        history: Sequence[Trial],
    ) -> dict[str, Addition]:
        """Every source's addition, asked side by side, each with as many calls as it said it takes at most."""

        async def ask(name: str, source: Source, count: int) -> Addition:
            try:
                client = self.client.share(source.max_calls(count))
                return await source.propose(space, history, count, client)
            except (LimitReached, PromptstillError):
                raise
            except Exception as error:  # the source's own failure: it costs its share, never the run
                return Addition(refused=(f"lost: the source {name} failed ({type(error).__name__}: {error})",))

        answers = await gather_or_cancel(ask(*one) for one in due)
        return {name: answer for (name, _, _), answer in zip(due, answers, strict=True)}


def knows(space: Space, trial: Trial) -> bool:
    """Whether a trial's choices are in the space."""
    return trial.candidate.instruction < len(space.instructions) and trial.candidate.demos in space.demo_sets


def calls_of(due: Iterable[tuple[str, Source, int]]) -> int:
    """The calls that a round takes at most."""
    return sum(source.max_calls(count) for _, source, count in due)


def round_topic(generation: str) -> str:
    """The study's note of how many rounds come before a generation, and whom the last asks for how much."""
    return f"rounds before {generation}"


def read_plan(noted: str) -> tuple[int, int, Collection[str] | None]:
    """That note's parts: rounds, halvings, and the sources asked; None for all, as in a run of an earlier version."""
    number, halvings, *names = json.loads(noted)
    return number, halvings, names[0] if names else None


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
