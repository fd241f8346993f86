"""The first candidates: the recipe's own instructions are among them, and the order of inputs does not matter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dspy
import pytest

from optimizer.search.sources.demo_room import demo_room
from optimizer.search.sources.given import empty_space, nearest_sets
from optimizer.search.space import NO_DEMOS, Addition, DemoSet
from optimizer.search.task import SearchTask
from promptstill.prompt.layouts import LAYOUTS, Layout
from promptstill.prompt.layouts.task import Task
from promptstill.task.examples import Example
from promptstill.task.metrics import exact_match

FIELDS = ("passage", "question", "language")


def search_task(
    fields: tuple[str, ...],
    instructions: tuple[str, ...] = ("Answer.",),
    layouts: tuple[Layout, ...] = ("chat", "inline", "raw"),
) -> SearchTask:
    rows = [{"passage": f"a long passage, number {i}", "question": f"what {i}", "language": "en"} for i in range(20)]
    train = [Example(str(i), str(i), row, {"answer": "x"}, row, str(i)) for i, row in enumerate(rows)]
    task = Task(dspy.Signature(f"{', '.join(fields)} -> answer"), "m", 8)
    sets = {NO_DEMOS: DemoSet(), "labeled-0": DemoSet(), "labeled-1": DemoSet(), **nearest_sets(task)}
    space = empty_space(train, demo_room(2_048, slow=True), layouts, structured=False).grow(
        Addition(instructions, sets)
    )
    return SearchTask(task, space, train, train, exact_match("answer"), 0, 16)


@pytest.mark.parametrize("fields", [FIELDS, FIELDS[::-1], ("question", "passage", "language")])
def test_nearest_demos_begin_with_the_input_that_asks_whatever_the_order(fields: tuple[str, ...]) -> None:
    starters = search_task(fields).starters()
    assert {one.demos for one in starters if one.demos.startswith("nearest")} == {"nearest-question"}


def test_inputs_that_most_rows_share_are_taken_together() -> None:
    assert search_task(("language",)).nearest_set() == "nearest"
    shared: Any = search_task(("language", "passage"))
    rows = [replace(row, inputs={"language": "en", "passage": "one for all"}) for row in shared.train]
    assert replace(shared, train=rows).nearest_set() == "nearest"


def test_the_recipes_own_instructions_are_in_the_first_race_and_proposed_ones_are_not() -> None:
    task = search_task(FIELDS, ("Answer.", "Answer in a word.", "Answer in French."))
    task = replace(task, space=replace(task.space, given=3).grow(Addition(("A proposal.",))))
    first = task.starters()[:8]
    assert [one.instruction for one in first if one.instruction] == [1, 2]
    pair = [(one.layout, one.demos, one.k) for one in first if one.instruction or one == first[1]]
    assert len(set(pair)) == 1, "they differ from the second candidate in the instruction alone"


@pytest.mark.parametrize(("given", "own", "size"), [(1, [], 8), (2, [1], 8), (3, [1, 2], 9), (13, [1, 2, 3, 4], 11)])
def test_own_instructions_push_no_layout_out_of_the_first_race(given: int, own: list[int], size: int) -> None:
    task = search_task(FIELDS, tuple(f"Answer, way {i}." for i in range(given)), tuple(LAYOUTS))
    starters = replace(task, space=replace(task.space, given=given)).starters()
    assert [one.instruction for one in starters if one.instruction] == own
    assert {one.layout for one in starters} == set(LAYOUTS) and len(starters) == size


@pytest.mark.parametrize("given", [1, 3])
def test_as_many_demos_as_there_is_room_for_are_in_the_first_race(given: int) -> None:
    task = search_task(FIELDS, tuple(f"Answer, way {i}." for i in range(given)))
    roomy = replace(task.space, given=given, sizes=(1, 2, 4, 8, 16, 64, 128))
    task = replace(task, train=[*task.train] * 8)  # of 160 rows 80 may be shown
    few, many = (replace(task, space=space).starters() for space in (replace(roomy, sizes=roomy.sizes[:5]), roomy))
    assert [one.k for one in many].count(64) == 1 and len(many) == len(few) + (given > 1)
    assert [one for one in many if one.k < 64] == [one for one in few if (one.demos, one.k) != ("labeled-1", 16)]
