"""Which free text is constrained, and where a reply stops."""

from __future__ import annotations

from dataclasses import replace

import dspy
import pytest
from pydantic import BaseModel

from promptstill.prompt.layouts import Layout
from promptstill.prompt.layouts.build import build_prompt
from promptstill.prompt.layouts.task import Task
from tests.support.tasks import ANSWER


@pytest.mark.parametrize("layout", ["chat", "inline", "raw", "dspy-chat", "json"])
def test_of_free_text_raw_alone_is_held_to_a_line_that_is_not_empty(layout: Layout) -> None:
    assert bool(build_prompt(ANSWER, layout, "S").decoding.structured) is (layout == "raw")


class Who(BaseModel):
    name: str


class Person(dspy.Signature):
    """Name the person."""

    text: str = dspy.InputField()
    who: Who = dspy.OutputField()


@pytest.mark.parametrize("layout", ["chat", "inline", "raw"])
def test_json_that_nothing_constrains_may_have_several_lines(layout: Layout) -> None:
    constrained = Task(Person, "m", 32)
    free = replace(constrained, structured=False)
    for reasoning in (False, True):
        prompt = build_prompt(free, layout, "S", reasoning=reasoning)
        assert prompt.decoding.stop == ["\n\nText:"]
    reply = ' ```json\n{\n  "name": "Ann"\n}\n```'
    assert build_prompt(free, layout, "S").parse(reply) == {"who": {"name": "Ann"}}
    with_pattern = replace(ANSWER, structured=False)
    assert build_prompt(with_pattern, layout, "S").decoding.stop == ["\n"]
    assert build_prompt(constrained, layout, "S").decoding.stop == []
    assert build_prompt(constrained, layout, "S", reasoning=True).decoding.stop == ["\n\n"]


class Colours(dspy.Signature):
    """Name the colours."""

    text: str = dspy.InputField()
    colours: list[str] = dspy.OutputField()


def test_a_list_that_nothing_constrains_may_have_several_lines_too() -> None:
    free = build_prompt(Task(Colours, "m", 32, structured=False), "chat", "S")
    assert free.decoding.stop == ["\n\nText:"]
    assert free.parse('```json\n[\n  "red",\n  "blue"\n]\n```') == {"colours": ["red", "blue"]}
    assert build_prompt(Task(Colours, "m", 32), "chat", "S").decoding.stop == ["\n"]
