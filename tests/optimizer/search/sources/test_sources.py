"""What every proposal source must do, tried on each entry of the table against a deterministic endpoint."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import dspy
import pytest

from optimizer.search.candidate import Candidate
from optimizer.search.sources import SOURCES
from optimizer.search.sources.demo_room import demo_room
from optimizer.search.sources.given import empty_space
from optimizer.search.sources.source import BEFORE_FIRST_RACE, SourceContext
from optimizer.search.space import Addition, Space
from optimizer.search.study import Trial
from optimizer.search.task import SearchTask
from promptstill import UserError, exact_match
from promptstill.endpoint.allowance import LimitReached, Limits
from promptstill.endpoint.client import Client
from promptstill.files import digest
from promptstill.prompt.layouts import LAYOUTS
from promptstill.prompt.layouts.task import Task
from promptstill.task.examples import Example
from tests.support.client import run_with_client
from tests.support.fake import Body, FakeEndpoint

each = pytest.mark.parametrize("name", SOURCES)
TASK = Task(dspy.Signature("place, item -> code", "Say the code of the item."), "fake", 16)
METRIC = exact_match("code")
ROUNDS = range(BEFORE_FIRST_RACE, 5)
PROPOSALS = 3


def row(number: int) -> Example:
    inputs, outputs = {"place": f"shelf {number % 5}", "item": f"item no {number}"}, {"code": f"code{number % 7}"}
    return Example(str(number), f"row {number}", inputs, outputs, {**inputs, **outputs}, str(number))


TRAIN, DEV = [row(number) for number in range(60)], [row(number) for number in range(60, 80)]
HISTORY = [
    Trial(0, 0, Candidate("chat", "none", 1, 0), "a" * 64, 0.5, {0: 1.0, 1: 0.0}, False, 0, 9.0, 2.0),
    Trial(0, 1, Candidate("chat", "labeled-0", 1, 0), "b" * 64, 0.5, {0: 0.0, 1: 1.0}, False, 0, 9.0, 2.0),
]


def helpful(body: Body) -> str:
    """An instruction, where one is asked for, in DSPy's form or between fences; else the code of two items of three,
    reasoned or not. One between fences makes the model right on all."""
    text = str(body["messages"][-1]["content"])
    if "within ``` blocks" in text:
        return f"Here it is:\n```\nLook the code up with care, {digest(text)[:8]}.\n```"
    if "proposed_instruction" in json.dumps(body["messages"]):
        way = " ".join(digest([text, part])[:8] for part in range(6))
        return f"[[ ## proposed_instruction ## ]]\nSay the code, {way}.\n\n[[ ## completed ## ]]"
    number = int(text.rsplit("item no ", 1)[-1].split(maxsplit=1)[0]) if "item no " in text else 0
    careful = "with care" in json.dumps(body["messages"])
    code = f"code{number % 7}" if number % 3 or careful else "code9"
    return f" It says so.\nCode: {code}" if text.endswith("Reasoning:") else f" {code}"


@dataclass
class Asked:
    """What a source added in each round, the calls that took, the calls it named as the most, and the space after."""

    space: Space
    additions: list[Addition] = field(default_factory=list)
    calls: dict[int, int] = field(default_factory=dict)
    most: dict[int, int] = field(default_factory=dict)


def new_space() -> Space:
    return empty_space(TRAIN, demo_room(8_192, slow=True), tuple(LAYOUTS), structured=True, reasonings=("off", "field"))


async def first_space(context: SourceContext, client: Client) -> Space:
    """The space before the first race."""
    space = new_space()
    for source in (make(context) for make in SOURCES.values()):
        if count := source.count(BEFORE_FIRST_RACE):
            space = space.grow(await source.propose(space, (), count, client))
    assert not client.allowance.total.calls, "no source makes a call before the first race"
    return space


def ask(name: str, fake: FakeEndpoint, folder: Path, limits: Limits | None = None) -> Asked:
    """Ask one source in every round in which it wants to be asked."""

    async def work(client: Client) -> Asked:
        context = SourceContext(TASK, TRAIN, METRIC, ("Name the code.",), 3, None, PROPOSALS)
        source, asked = SOURCES[name](context), Asked(await first_space(context, client))
        for number in ROUNDS:
            first, before = number == BEFORE_FIRST_RACE, client.allowance.total.calls
            if not (count := source.count(number)):
                continue
            assert source.describe(count).strip()
            space = new_space() if first else asked.space
            addition = await source.propose(space, [] if first else HISTORY, count, client)
            asked.additions.append(addition)
            asked.calls[number] = client.allowance.total.calls - before
            asked.most[number] = source.max_calls(count)
            asked.space = asked.space.grow(addition)
        return asked

    folder.mkdir()
    return run_with_client(fake, folder, work, limits)


def as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


@each
def test_a_source_adds_something_and_the_same_again_within_its_calls(name: str, tmp_path: Path) -> None:
    with FakeEndpoint(helpful) as fake, FakeEndpoint(helpful) as other:
        asked, again = ask(name, fake, tmp_path / "a"), ask(name, other, tmp_path / "b")
    assert any(one.instructions or one.demo_sets for one in asked.additions)
    assert asked.additions == again.additions and fake.calls == other.calls
    assert all(asked.calls[number] <= asked.most[number] for number in asked.calls)
    assert not asked.most.get(BEFORE_FIRST_RACE), "no call is made before the first race"


@each
def test_what_a_source_adds_becomes_a_prompt_in_every_layout(name: str, tmp_path: Path) -> None:
    with FakeEndpoint(helpful) as fake:
        asked = ask(name, fake, tmp_path / "a")
    space, sets = asked.space, [key for one in asked.additions for key in one.demo_sets] or ["none"]
    task = SearchTask(TASK, space, TRAIN, DEV, METRIC, 0, 8)
    for layout, demos, k, number, reasoning in product(
        LAYOUTS, sets, space.sizes, range(len(space.instructions)), space.reasonings
    ):
        candidate = space.allowed(Candidate(layout, demos, k, number, reasoning))
        messages = task.prompt(candidate).messages(DEV[0].inputs)
        shown = json.dumps(messages, ensure_ascii=False)
        assert all(line in shown for line in space.instructions[number].splitlines())
    added = {text for one in asked.additions for text in one.instructions}
    assert added <= set(space.instructions), "an instruction is neither empty nor edged with white space"


@each
def test_what_a_source_adds_is_kept_as_json(name: str, tmp_path: Path) -> None:
    with FakeEndpoint(helpful) as fake:
        asked = ask(name, fake, tmp_path / "a")
    for one in asked.additions:
        assert as_json(Addition.from_json(as_json(one.to_json())).to_json()) == as_json(one.to_json())
    assert as_json(Space.from_json(as_json(asked.space.to_json())).to_json()) == as_json(asked.space.to_json())


@each
def test_demos_are_rows_of_train_and_nearest_sets_go_by_inputs(name: str, tmp_path: Path) -> None:
    with FakeEndpoint(helpful) as fake:
        asked = ask(name, fake, tmp_path / "a")
    known = [dict(example.inputs) for example in TRAIN]
    for one in (one for addition in asked.additions for one in addition.demo_sets.values()):
        assert all({key: demo[key] for key in ("place", "item")} in known for demo in one.demos)
        assert set(one.nearest) <= {"place", "item"}
        assert not (one.demos and one.nearest), "a set has its own demos or picks from the pool"


@each
@pytest.mark.parametrize("reply", ["", "{", "[[ ## completed ## ]]", "word " * 500])
def test_a_model_that_is_of_no_help_ends_no_run(name: str, reply: str, tmp_path: Path) -> None:
    with FakeEndpoint(lambda body: reply) as fake:
        asked = ask(name, fake, tmp_path / "a")
    assert asked.space.instructions and all(asked.calls[number] <= asked.most[number] for number in asked.calls)


@each
def test_a_refused_request_ends_no_run_but_a_refused_key_does(name: str, tmp_path: Path) -> None:
    with FakeEndpoint(helpful) as fake:
        fake.misbehave = lambda number: 400
        asked = ask(name, fake, tmp_path / "a")
        fake.misbehave = lambda number: 401
        if any(asked.most.values()):
            with pytest.raises(UserError, match="refused the API key"):
                ask(name, fake, tmp_path / "b")


@each
def test_a_limit_stops_a_source_that_would_call(name: str, tmp_path: Path) -> None:
    with FakeEndpoint(helpful) as fake:
        if any(ask(name, fake, tmp_path / "a").most.values()):
            with pytest.raises(LimitReached):
                ask(name, fake, tmp_path / "b", Limits(calls=0))


def test_no_two_sources_give_one_name_to_different_demos(tmp_path: Path) -> None:
    sets: dict[str, Any] = {}
    with FakeEndpoint(helpful) as fake:
        for name in SOURCES:
            for addition in ask(name, fake, tmp_path / name).additions:
                assert all(sets.setdefault(key, one) == one for key, one in addition.demo_sets.items())


def test_a_proposal_that_rambles_is_asked_for_once(tmp_path: Path) -> None:
    """DSPy would ask again in another form, and a small model ramble there too."""
    with FakeEndpoint(lambda body: "Let us think. " * 40, finish=lambda body: "length") as fake:
        asked = ask("grounded", fake, tmp_path / "cut")
    assert asked.additions == [Addition(refused=("cut at the reply limit",) * PROPOSALS)]
    assert asked.calls == {1: PROPOSALS} and sum(fake.calls.values()) == PROPOSALS
