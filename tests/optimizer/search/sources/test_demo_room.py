"""How many demos there is room for: by context, by price, by who reads the prompts, and by the number of labels."""

from __future__ import annotations

from typing import Literal

import dspy
import pytest

from optimizer.search.sources.demo_room import DemoRoom, demo_room
from optimizer.search.sources.given import empty_space, labeled_sets
from optimizer.search.space import NO_DEMOS, Addition, DemoSet
from optimizer.search.task import SearchTask
from promptstill import exact_match
from promptstill.prompt.layouts.task import Task
from promptstill.task.examples import Example

INTENTS = tuple(f"intent{number}" for number in range(77))


def row(number: int) -> Example:
    inputs, outputs = {"text": f"w{number}"}, {"intent": INTENTS[number % 77]}
    return Example(str(number), f"row {number}", inputs, outputs, {**inputs, **outputs}, str(number))


TRAIN = [row(number) for number in range(300)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"context": 8_192, "slow": True}, DemoRoom(1_536, 512, 16)),
        ({"context": 131_072, "slow": False}, DemoRoom(8_192, 4_096)),
        ({"context": 2_048, "slow": False}, DemoRoom(1_024, 1_024)),
        ({"context": 131_072, "slow": False, "usd": 0.15}, DemoRoom(8_192, 4_096)),
        ({"context": 131_072, "slow": False, "usd": 15.0}, DemoRoom(1_536, 1_536)),
        ({"context": 131_072, "slow": False, "most_tokens": 300}, DemoRoom(300, 300)),
    ],
)
def test_room_goes_by_context_price_and_reader(given: dict[str, float], expected: DemoRoom) -> None:
    assert demo_room(**given) == expected  # type: ignore[arg-type]  # named as the function has them


def test_many_labels_get_a_demo_each_in_the_first_race_beside_as_many_as_there_is_room_for() -> None:
    task = Task(
        dspy.Signature({"text": (str, dspy.InputField()), "intent": (Literal[INTENTS], dspy.OutputField())}), "m", 8
    )
    space = empty_space(TRAIN, demo_room(32_768, slow=False), ("chat",), structured=True, labels=77)
    assert space.sizes == (1, 2, 3, 4, 8, 16, 32, 64, 77, 128) and space.most_nearest == 128
    sets = {NO_DEMOS: DemoSet(), **labeled_sets(TRAIN, max(space.sizes), 0)}
    whole = SearchTask(task, space.grow(Addition(("Say it.",), sets)), TRAIN, TRAIN, exact_match("intent"), 0, 8)
    first = [one for one in whole.starters() if one.demos != NO_DEMOS]
    assert {one.k for one in first} == {4, 77, 128}
    shown = sets["labeled-1"].demos[:77]
    assert len({demo["intent"] for demo in shown}) == 77, "each label once"
    slow = empty_space(TRAIN, demo_room(8_192, slow=True), ("chat",), structured=True, labels=77)
    assert slow.sizes == (1, 2, 3, 4, 8, 16, 77) and slow.most_nearest == 16
