"""How the space grows: a source that asks for more than it said costs its share, never the run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from optuna.storages import InMemoryStorage

from optimizer.search.growth import SpaceGrowth
from optimizer.search.space import Addition, Space
from optimizer.search.study import StoredStudy, Trial
from promptstill.endpoint.client import Client, ShareSpent
from promptstill.endpoint.store import Completion
from tests.support.client import run_with_client
from tests.support.fake import FakeEndpoint
from tests.support.world import world_task


class Asks:
    """A source that says it takes two calls, and makes `calls`."""

    def __init__(self, calls: int) -> None:
        self.calls = calls

    def count(self, number: int, earlier: Sequence[Addition] | None = None) -> int:
        return int(number == 1)

    def describe(self, count: int) -> str:
        return "an instruction"

    def max_calls(self, count: int) -> int:
        return 2

    async def propose(self, space: Space, history: Sequence[Trial], count: int, client: Client) -> Addition:
        for number in range(self.calls):
            body = {"model": "fake", "messages": [{"role": "user", "content": f"{self.calls} calls, {number}"}]}
            await client.complete(body, "proposer")
        return Addition((f"After {self.calls} calls.",))


def test_a_source_that_asks_for_more_than_it_said_costs_its_share_alone(tmp_path: Path) -> None:
    lines: list[str] = []

    async def grow(client: Client) -> Space:
        sources = {"modest": Asks(2), "greedy": Asks(5)}
        study = StoredStudy(InMemoryStorage(), "shares")
        growth = SpaceGrowth(study, sources, client, tmp_path / "pools.json", lines.append)
        await growth.start(world_task(4, 0).space)
        return await growth.grow((), "0-8")

    with FakeEndpoint() as fake:
        space = run_with_client(fake, tmp_path, grow)
    assert "After 2 calls." in space.instructions and "After 5 calls." not in space.instructions
    assert sum(fake.calls.values()) == 4, "two of each: the third call of the greedy one does not leave"
    assert "lost: the source greedy failed (ShareSpent" in space.refused[0] and "greedy" in lines[-1]


def test_a_spent_share_does_not_end_an_equal_request_of_another_part(tmp_path: Path) -> None:
    body = {"model": "fake", "messages": [{"role": "user", "content": "the same"}]}

    async def ask(client: Client) -> list[Completion | BaseException]:
        first = client.complete({**body, "max_tokens": 1}, "proposer")  # it has the one slot, so the others wait
        parts = (part.complete(body, "proposer") for part in (client.share(0), client.share(1)))
        return (await asyncio.gather(first, *parts, return_exceptions=True))[1:]

    with FakeEndpoint() as fake:
        spent, answered = run_with_client(fake, tmp_path, ask, window=1)
    assert isinstance(spent, ShareSpent) and isinstance(answered, Completion)


class Wants:
    """A source that wants `count` choices in each round, two calls for each, and adds an instruction for each."""

    def __init__(self, count: int) -> None:
        self.wanted = count

    def count(self, number: int, earlier: Sequence[Addition] | None = None) -> int:
        return self.wanted if number else 0

    def describe(self, count: int) -> str:
        return f"{count} instructions"

    def max_calls(self, count: int) -> int:
        return 2 * count

    async def propose(self, space: Space, history: Sequence[Trial], count: int, client: Client) -> Addition:
        first = len(space.instructions)
        return Addition(tuple(f"Number {number}." for number in range(first, first + count)))


def test_a_round_is_fitted_to_the_calls_that_are_left_and_stays_so(tmp_path: Path) -> None:
    async def grow(client: Client) -> None:
        study = StoredStudy(InMemoryStorage(), "fitted")
        growth = SpaceGrowth(study, {"wants": Wants(8)}, client, tmp_path / "pools.json")
        before = len((await growth.start(world_task(4, 0).space)).instructions)
        assert growth.max_calls() == 16 and growth.max_calls(3) == 48 and not growth.begun
        assert growth.fit("0-8", 9) == 8 == growth.fit("0-8", 1_000), "what was noted first holds"
        assert len((await growth.grow((), "0-8")).instructions) == before + 4 and growth.begun
        assert growth.fit("0-16", 1) == 0
        assert len((await growth.grow((), "0-16")).instructions) == before + 4, "no round fits"
        assert len((await growth.grow((), "0-24")).instructions) == before + 12
        assert len((await growth.grow((), "0-8")).instructions) == before + 4, "an earlier generation has what it had"

    with FakeEndpoint() as fake:
        run_with_client(fake, tmp_path, grow)


class Dear:
    """A source of so many calls for each choice, asked for eight in its first round."""

    def __init__(self, calls: int) -> None:
        self.calls, self.asked = calls, list[int]()

    def count(self, number: int, earlier: Sequence[Addition] | None = None) -> int:
        return 8 * (number == 1 if earlier is None else number >= 1 and not earlier)

    def describe(self, count: int) -> str:
        return "something dear"

    def max_calls(self, count: int) -> int:
        return self.calls * count

    async def propose(self, space: Space, history: Sequence[Trial], count: int, client: Client) -> Addition:
        self.asked.append(count)
        return Addition((f"One of {self.calls}.",))


def test_who_is_not_paid_for_waits_and_the_last_in_the_table_comes_first(tmp_path: Path) -> None:
    first, last = Dear(50), Dear(10)

    async def grow(client: Client) -> list[int]:
        study = StoredStudy(InMemoryStorage(), "rooms")
        growth = SpaceGrowth(study, {"first": first, "last": last}, client, tmp_path / "pools.json")
        await growth.start(world_task(4, 0).space)
        taken = []
        for generation, room in (("0-8", 30), ("0-10", 10), ("0-12", 200), ("0-14", 900)):
            taken.append(growth.fit(generation, room))
            await growth.grow((), generation)
        return taken

    with FakeEndpoint() as fake:
        assert run_with_client(fake, tmp_path, grow) == [20, 0, 200, 0]
    assert (first.asked, last.asked) == ([4], [2]), "halved as often as the room asks for"


def test_a_source_may_be_asked_alone_where_what_learns_more_is_not_paid_for(tmp_path: Path) -> None:
    dear, proposals, reflecting = Dear(50), Dear(1), Dear(10)
    sources = {"bootstrap": dear, "grounded": proposals, "reflect": reflecting}

    async def grow(client: Client, alone: str | None) -> list[int]:
        study, path = StoredStudy(InMemoryStorage(), "alone"), tmp_path / "pools.json"
        growth = SpaceGrowth(study, sources, client, path, alone=alone)
        await growth.start(world_task(4, 0).space)
        taken = []
        for generation, room in (("0-8", 1), ("0-10", 10), ("0-12", 10), ("0-14", 30)):
            taken.append(growth.fit(generation, room))
            await growth.grow((), generation)
        return taken

    for name in ("named", "none"):
        (tmp_path / name).mkdir()
    with FakeEndpoint() as fake:
        assert run_with_client(fake, tmp_path / "named", lambda client: grow(client, "grounded")) == [0, 8, 0, 20]
        assert (dear.asked, proposals.asked, reflecting.asked) == ([], [8], [2])
        assert run_with_client(fake, tmp_path / "none", lambda client: grow(client, None)) == [0, 0, 0, 22]
