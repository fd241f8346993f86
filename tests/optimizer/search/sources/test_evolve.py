"""Demo sets that come of the best one, at a model that gets right what its demos are like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import dspy

from optimizer.search.candidate import Candidate
from optimizer.search.sources.evolve import LOOKED_ROWS, EvolveSource
from optimizer.search.sources.source import SourceContext
from optimizer.search.space import NO_DEMOS, Addition, DemoSet, Space, bias_key, to_demo
from optimizer.search.study import Trial
from promptstill import exact_match
from promptstill.endpoint.client import Client
from promptstill.prompt.layouts.task import Task
from promptstill.task.examples import Example
from tests.support.client import run_with_client
from tests.support.fake import Body, FakeEndpoint

TASK = Task(dspy.Signature("item -> kind", "Say the kind."), "fake", 16)


def row(number: int) -> Example:
    inputs, outputs = {"item": f"item {number}"}, {"kind": "odd" if number % 2 else "even"}
    return Example(str(number), f"row {number}", inputs, outputs, {**inputs, **outputs}, str(number))


TRAIN = [row(number) for number in range(40)]
ODD = tuple(to_demo(TRAIN[number]) for number in (1, 3, 5, 7))
EVEN = tuple(to_demo(TRAIN[number]) for number in (2, 4, 6, 8))
SETS = {NO_DEMOS: DemoSet(), "nearest": DemoSet(nearest=("item",)), "a": DemoSet(ODD), "b": DemoSet(EVEN)}
SPACE = Space(tuple(map(to_demo, TRAIN)), (1, 2, 4, 8), 4, ("chat",), False, instructions=("Say it.",), demo_sets=SETS)


def says_odd(body: Body) -> str:
    """Odd, unless a demo is even and the item is, too."""
    *shown, asked = (str(one["content"]) for one in body["messages"])
    even = int(asked.rsplit("item ", 1)[1].split()[0]) % 2 == 0
    return "even" if even and any("even" in text for text in shown) else "odd"


def trial(demos: str, scores: Sequence[float], k: int = 4) -> Trial:
    mean = sum(scores) / len(scores)
    return Trial(0, 0, Candidate("chat", demos, k, 0), demos, mean, dict(enumerate(scores)), False, 0, 9.0, 2.0)


HALF = [1.0, 0.0] * 10


def propose(folder: Path, history: Sequence[Trial], space: Space = SPACE) -> tuple[Addition, int]:
    source = EvolveSource(SourceContext(TASK, TRAIN, exact_match("kind"), (), 1))

    async def work(client: Client) -> Addition:
        return await source.propose(space, history, 1, client.share(source.max_calls(1)))

    with FakeEndpoint(says_odd) as fake:
        return run_with_client(fake, folder, work), fake.requests


def test_children_hold_what_the_parent_gets_wrong_and_are_tried_in_its_place(tmp_path: Path) -> None:
    added, calls = propose(tmp_path, [trial("a", HALF), trial("b", [0.0, *HALF[1:]]), trial("nearest", HALF)])
    children = {name: one.demos for name, one in added.demo_sets.items()}
    assert calls == LOOKED_ROWS and len(children) == 4
    wrong = [[demo for demo in demos if demo not in ODD] for demos in children.values()]
    assert all(demo["kind"] == "even" for demos in wrong for demo in demos) and sum(map(bool, wrong)) >= 3
    longest = max(children.values(), key=len)
    assert longest[:4] == ODD and len(longest) == 5
    tried = [Candidate.from_params(params) for params in added.tries]
    assert [one.demos for one in tried] == list(children) and {one.layout for one in tried} == {"chat"}
    grown = SPACE.grow(added)
    assert all(len(children[one.demos]) <= grown.demo_count(one.demos, one.k) for one in tried), "shown whole"
    assert Addition.from_json(added.to_json()) == added


def test_other_prompts_that_are_better_beyond_doubt_leave_nothing_to_evolve(tmp_path: Path) -> None:
    assert propose(tmp_path, [trial("a", [0.0, *HALF[1:]]), trial("nearest", [1.0] * 20)]) == (Addition(), 0)
    assert propose(tmp_path, [trial(NO_DEMOS, HALF)]) == (Addition(), 0)


def test_children_that_do_not_lead_end_it(tmp_path: Path) -> None:
    names = [f"evolved-{number}" for number in range(9)]
    space = replace(SPACE, demo_sets={**SETS, **{name: DemoSet(EVEN[:2]) for name in names}})
    barren = [trial("a", HALF), *(trial(name, [0.0] * 20) for name in names)]
    assert propose(tmp_path, barren, space) == (Addition(), 0)
    added, _ = propose(tmp_path, [*barren, trial("evolved-3", [1.0] * 20)], space)
    assert added.demo_sets, "of one that leads others come"


def test_it_is_asked_again_until_two_rounds_brought_nothing() -> None:
    source = EvolveSource(SourceContext(TASK, TRAIN, exact_match("kind"), (), 1))
    some, none = Addition(demo_sets={"evolved-9": DemoSet(ODD)}), Addition()
    assert [source.count(number) for number in range(3)] == [0, 1, 1]
    assert source.count(3, [some, none]) and source.count(2, [none]) and not source.count(3, [none, none])
    assert not EvolveSource(SourceContext(TASK, TRAIN[:9], exact_match("kind"), (), 1)).count(1)


def test_rows_are_asked_as_a_race_asks_them_with_constraints_and_the_parents_bias(tmp_path: Path) -> None:
    task = Task(dspy.Signature("item -> kind: Literal['even', 'odd']", "Say the kind."), "fake", 16)
    context, space = SourceContext(task, TRAIN, exact_match("kind"), (), 1), replace(SPACE, structured=True)
    parent, bias = trial("a", HALF), {"logit_bias": {"7": 1.5}, "logit_bias_texts": {"even": 1.5}}
    plain = context.search_task(space).plain_prompt(parent.candidate)
    space = replace(space, biases={bias_key(plain, "full"): bias})
    calibrated = replace(parent, candidate=replace(parent.candidate, calibration="full"))
    source = EvolveSource(context)
    with FakeEndpoint(says_odd) as fake:
        added = run_with_client(fake, tmp_path, lambda client: source.propose(space, [calibrated], 1, client))
    assert added.demo_sets and len(fake.bodies) == LOOKED_ROWS
    assert all(body["structured_outputs"]["choice"] == ["even", "odd"] for body in fake.bodies)
    assert all(body["logit_bias"] == {"7": 1.5} for body in fake.bodies)
