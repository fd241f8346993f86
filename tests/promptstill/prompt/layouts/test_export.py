"""A prompt as `dspy.Predict`: its demos read back from every layout, its types, and what DSPy then sends."""

from __future__ import annotations

from pathlib import Path

import dspy
import pytest
from dspy.adapters import ChatAdapter
from pydantic import BaseModel

from promptstill import UserError
from promptstill.prompt.fields import REASONING
from promptstill.prompt.layouts import LAYOUTS, SHOW_PARTIAL_DEMOS
from promptstill.prompt.layouts.build import build_prompt
from promptstill.prompt.layouts.demos import NOT_SUPPLIED, read_demos
from promptstill.prompt.layouts.export import to_signature
from promptstill.prompt.layouts.task import Task
from tests.support.tasks import ANSWER, ANSWER_DEMOS, ANSWER_INPUTS, DEMO_POLICIES, SORT, SORT_OUTPUTS, Sort

SORT_DEMOS = [
    {"text": "two\nlines", **SORT_OUTPUTS},
    {"text": "one", **SORT_OUTPUTS, "due": "2026-01-02", "note": "n", "tags": []},
]
each = pytest.mark.parametrize("layout", LAYOUTS)


@each
def test_demos_are_read_back_from_every_layout(layout: str) -> None:
    assert read_demos(build_prompt(ANSWER, layout, "Answer {it}.\n\nShort.", ANSWER_DEMOS, k=3)) == list(ANSWER_DEMOS)
    assert read_demos(build_prompt(SORT, layout, "Sort.", SORT_DEMOS, k=2)) == SORT_DEMOS
    assert read_demos(build_prompt(SORT, layout, "Sort.")) == []


@each
def test_the_types_come_back(layout: str) -> None:
    signature = to_signature(build_prompt(SORT, layout, "Sort."))
    assert {name: info.annotation for name, info in signature.fields.items()} == {
        name: info.annotation for name, info in Sort.fields.items()
    }
    assert signature.instructions == "Sort." and list(signature.output_fields) == list(Sort.output_fields)


class Part(BaseModel):
    name: str


class Split(dspy.Signature):
    """Split."""

    text: str = dspy.InputField()
    part: Part = dspy.OutputField()
    parts: list[Part] = dspy.OutputField()


def test_a_model_of_pydantic_s_becomes_a_dict() -> None:
    fields = to_signature(build_prompt(Task(Split, "m", 9), "chat", "Split.")).output_fields
    assert [str(info.annotation) for info in fields.values()] == [
        "dict[str, typing.Any]",
        "list[dict[str, typing.Any]]",
    ]


def test_what_dspy_sends_after_save_and_load_is_the_prompt(tmp_path: Path) -> None:
    prompt = build_prompt(SORT, "dspy-chat", "Sort them well.", SORT_DEMOS, k=2)
    prompt.to_dspy().save(tmp_path / "program.json")
    loaded = dspy.Predict(Sort)
    loaded.load(tmp_path / "program.json")
    inputs = {"text": "hello"}
    for predictor in (prompt.to_dspy(), loaded):
        assert ChatAdapter().format(predictor.signature, predictor.demos, inputs) == prompt.messages(inputs)


def test_nearest_demos_are_refused() -> None:
    with pytest.raises(UserError, match="are picked for each input"):
        build_prompt(ANSWER, "chat", "Answer.", DEMO_POLICIES["nearest"], k=2).to_dspy()


@pytest.mark.parametrize("layout", ["chat", "inline", "raw"])
def test_a_demo_that_reads_like_two_is_refused(layout: str) -> None:
    row = {"context": "c\n\nContext: d\nQuestion: e\nAnswer: f", "question": "q", "answer": "a"}
    with pytest.raises(UserError, match="cannot be read back"):
        read_demos(build_prompt(ANSWER, layout, "Answer.", [row], k=1))


@pytest.mark.parametrize("layout", SHOW_PARTIAL_DEMOS)
def test_a_demo_without_its_reasoning_says_so_and_is_read_back_without_it(layout: str) -> None:
    reasoned = {**ANSWER_DEMOS[1], REASONING: "It says so."}
    for demos in (ANSWER_DEMOS[:1], (reasoned,), (ANSWER_DEMOS[0], reasoned)):
        prompt = build_prompt(ANSWER, layout, "Answer.", demos, k=2, reasoning=True)
        assert read_demos(prompt) == list(demos)
    assert NOT_SUPPLIED in "".join(message["content"] for message in prompt.preview())
    picked = build_prompt(ANSWER, layout, "Answer.", DEMO_POLICIES["nearest"], k=1, reasoning=True)
    _, _, reply, _ = picked.messages(ANSWER_INPUTS)
    assert picked.parse(reply["content"])[REASONING] == NOT_SUPPLIED
    if layout == "dspy-chat":
        predictor = prompt.to_dspy()
        sent = ChatAdapter().format(predictor.signature, predictor.demos, ANSWER_INPUTS)
        assert sent[1:] == prompt.messages(ANSWER_INPUTS)[1:]
