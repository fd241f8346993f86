"""Reasoning as a choice of its own: its values, and the demos and layouts that go together with the field."""

from __future__ import annotations

import json
from dataclasses import replace

import dspy
import pytest

from optimizer.search.candidate import FIELD, MODEL, OFF, Candidate
from optimizer.search.sources.demo_room import demo_room
from optimizer.search.sources.given import empty_space, own_set, reasoning_choices
from optimizer.search.space import NO_DEMOS, Addition, DemoSet, Space
from optimizer.search.task import SearchTask
from promptstill.dialect import Dialect
from promptstill.prompt.fields import REASONING
from promptstill.prompt.layouts import LAYOUTS, SHOW_PARTIAL_DEMOS
from promptstill.prompt.layouts.task import OwnPredictor, Task
from promptstill.task.examples import Example
from promptstill.task.metrics import exact_match

THINKING = Dialect(thinking_tokens=2048)
TASK = Task(dspy.Signature("item -> code", "Say the code."), "m", 8)
IN_PROGRAM, CHAIN = OwnPredictor(in_program=True), OwnPredictor(reasons=True)
TRAIN = [
    Example(str(i), str(i), {"item": f"item {i}"}, {"code": f"c{i}"}, {"item": f"item {i}"}, str(i)) for i in range(8)
]
DEMO = {"item": "item 1", "code": "c1"}
SETS = {
    NO_DEMOS: DemoSet(),
    "labeled-0": DemoSet((DEMO,)),
    "labeled-1": DemoSet((DEMO,)),
    "mixed": DemoSet((DEMO, {**DEMO, REASONING: "So."})),
    "reasoned": DemoSet(({**DEMO, REASONING: "So."},)),
    "nearest": DemoSet(nearest=("item",)),
}


def space() -> Space:
    found = empty_space(TRAIN, demo_room(2_048, slow=True), tuple(LAYOUTS), structured=False, reasonings=(OFF, FIELD))
    return found.grow(Addition(("Say the code.",), SETS))


@pytest.mark.parametrize(
    ("task", "choices"),
    [
        (TASK, (OFF, FIELD)),
        (replace(TASK, own=IN_PROGRAM), (OFF,)),
        (replace(TASK, own=CHAIN), (OFF, FIELD)),
        (replace(TASK, signature=dspy.Signature("item -> reasoning, code")), (OFF,)),
        (replace(TASK, dialect=THINKING), (MODEL,)),
        (replace(TASK, dialect=THINKING, own=CHAIN), (MODEL, FIELD)),
    ],
    ids=["plain", "of a program", "chain of thought", "has the field", "thinks", "thinks, chain of thought"],
)
def test_a_candidate_reasons_as_its_model_does_or_in_a_field(task: Task, choices: tuple[str, ...]) -> None:
    assert reasoning_choices(task) == choices


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_field_is_asked_for_where_the_demos_show_one_or_the_layout_says_that_they_do_not(layout: str) -> None:
    task = SearchTask(TASK, space(), TRAIN, TRAIN, exact_match("code"), 0, 8)
    for name in SETS:
        wanted = Candidate(layout, name, 1, 0, FIELD)
        allowed, shown = task.space.allowed(wanted), name in (NO_DEMOS, "reasoned") or layout in SHOW_PARTIAL_DEMOS
        assert allowed == replace(wanted, reasoning=FIELD if shown else OFF)
        assert task.space.allowed(allowed) == allowed
        names = [field.name for field in task.prompt(allowed).outputs]
        assert names == ([REASONING, "code"] if shown else ["code"])
        assert task.space.allowed(replace(wanted, reasoning=OFF)).reasoning == OFF


def test_no_first_candidate_reasons_in_a_field_but_a_chain_of_thought() -> None:
    task = SearchTask(TASK, space(), TRAIN, TRAIN, exact_match("code"), 0, 8)
    assert {one.reasoning for one in task.starters()} == {OFF}
    chain = replace(task, task=replace(TASK, own=CHAIN))
    first, *others = chain.starters()
    assert first == Candidate("dspy-chat", NO_DEMOS, first.k, 0, FIELD) and others == task.starters()
    assert own_set(chain.task) == {}, "no demos, no set of them"


def test_a_model_that_thinks_is_asked_as_it_thinks_by_itself() -> None:
    thinks = replace(TASK, dialect=THINKING)
    known = replace(space(), dialect=THINKING, reasonings=reasoning_choices(thinks))
    task = SearchTask(thinks, known, TRAIN, TRAIN, exact_match("code"), 0, 8)
    assert {one.reasoning for one in task.starters()} == {MODEL}
    assert known.allowed(Candidate("chat", "labeled-0", 1, 0, FIELD)).reasoning == MODEL


def test_what_a_model_can_be_told_takes_turns_among_the_first_candidates_but_in_raw_it_never_thinks() -> None:
    told = {"off": Dialect(enable_thinking=False), "short": THINKING.model_copy(update={"reasoning_effort": "low"})}
    thinks = replace(TASK, dialect=THINKING)
    known = replace(space(), dialect=THINKING, thinking=told, reasonings=reasoning_choices(thinks, told))
    assert known.reasonings == (MODEL, "off", "short")
    task = SearchTask(thinks, known, TRAIN, TRAIN, exact_match("code"), 0, 8)
    starters = task.starters()
    assert starters[0].reasoning == MODEL and len(starters) == len(replace(task, space=space()).starters())
    assert {one.reasoning for one in starters if one.layout != "raw"} == set(known.reasonings)
    assert {one.reasoning for one in starters if one.layout == "raw"} == {OFF}
    for one in starters:
        assert task.prompt(one).decoding.dialect == known.dialect_of(one.reasoning)
    assert Space.from_json(json.loads(json.dumps(known.to_json()))) == known


def test_a_space_and_a_candidate_keep_their_reasoning_as_json() -> None:
    made = space()
    assert Space.from_json(json.loads(json.dumps(made.to_json()))) == made
    candidate = Candidate("chat", "reasoned", 1, 0, FIELD)
    assert Candidate.from_params(json.loads(json.dumps(candidate.to_params()))) == candidate
    assert set(candidate.chosen(made.choices)) == set(made.choices)
