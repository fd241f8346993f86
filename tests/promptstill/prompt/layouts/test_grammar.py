"""Which free text is constrained."""

from __future__ import annotations

import pytest

from promptstill.prompt.layouts import Layout
from promptstill.prompt.layouts.build import build_prompt
from tests.support.tasks import ANSWER


@pytest.mark.parametrize("layout", ["chat", "inline", "raw", "dspy-chat", "json"])
def test_of_free_text_raw_alone_is_held_to_a_line_that_is_not_empty(layout: Layout) -> None:
    assert bool(build_prompt(ANSWER, layout, "S").decoding.structured) is (layout == "raw")
