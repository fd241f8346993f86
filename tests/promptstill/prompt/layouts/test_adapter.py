"""Two layouts send what DSPy sends."""

from __future__ import annotations

import pytest
from dspy.adapters import ChatAdapter, JSONAdapter

from promptstill.prompt.layouts import Layout
from promptstill.prompt.layouts.build import build_prompt
from promptstill.prompt.nearest import NearestIndex
from tests.support.tasks import ANSWER, ANSWER_DEMOS, ANSWER_INPUTS, DEMO_POLICIES, Answer


@pytest.mark.parametrize(("layout", "adapter"), [("dspy-chat", ChatAdapter()), ("json", JSONAdapter())])
@pytest.mark.parametrize("policy", DEMO_POLICIES)
def test_dspy_layouts_send_what_dspy_sends(layout: Layout, adapter: ChatAdapter, policy: str) -> None:
    prompt = build_prompt(ANSWER, layout, "Do {this}.", DEMO_POLICIES[policy], k=3)
    demos = [dict(demo) for demo in ANSWER_DEMOS] if policy == "fixed" else []
    if policy == "nearest":
        index = NearestIndex(ANSWER_DEMOS, ["question"], ["context", "question"])
        demos = [dict(demo) for demo in index.pick(ANSWER_INPUTS, 3)]
    expected = adapter.format(Answer.with_instructions("Do {this}."), demos, ANSWER_INPUTS)
    assert prompt.messages(ANSWER_INPUTS) == expected
