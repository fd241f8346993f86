"""Which replies are constrained."""

from __future__ import annotations

import pytest

from promptstill.prompt.layouts import LAYOUTS, Layout
from promptstill.prompt.layouts.build import build_prompt
from tests.support.tasks import ANSWER, SORT


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_typed_task_is_constrained_and_a_free_one_is_not(layout: Layout) -> None:
    typed = build_prompt(SORT, layout, "S").decoding
    assert typed.structured or typed.response_format
    free = build_prompt(ANSWER, layout, "S").decoding
    assert bool(free.structured) == (layout == "raw"), "raw text alone is held to a line that is not empty"
