"""A `Prompt` from a candidate's parts, by the layout's own module. Loads DSPy."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Protocol, cast

from promptstill.prompt.layouts import LAYOUTS, Layout
from promptstill.prompt.layouts.parts import Demo, NearestDemos
from promptstill.prompt.layouts.task import Task
from promptstill.prompt.prompt import Prompt


class LayoutModule(Protocol):
    """What the module of each layout provides."""

    def build(self, task: Task, instruction: str, demos: Sequence[Demo] | NearestDemos, k: int) -> Prompt: ...


def build_prompt(
    task: Task,
    layout: Layout,
    instruction: str,
    demos: Sequence[Demo] | NearestDemos = (),
    *,
    k: int = 0,
    reasoning: bool = False,
) -> Prompt:
    """The prompt of one candidate.

    demos: a list, whose first `k` are written into the prompt, or a pool, whose `k` nearest are picked for each input.
    reasoning: whether the reply begins with a reasoning field.
    """
    module = cast(LayoutModule, import_module(f"promptstill.prompt.layouts.{LAYOUTS[layout]}"))
    return module.build(task.reasoned() if reasoning else task, instruction, demos, k)
