"""The certain part of a reply that is still being written, for every style of reply and every way to cut it up."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from promptstill.errors import ReplyError
from promptstill.prompt.fields import Field
from promptstill.prompt.growing import BEGUN_MARKER, growing_value
from promptstill.prompt.layouts import LAYOUTS
from promptstill.prompt.layouts.build import build_prompt
from promptstill.prompt.prompt import Prompt
from promptstill.prompt.reply import ReplyFormat
from tests.support.bodies import cuts, pieces, replies
from tests.support.tasks import ANSWER, SORT

CHAT = build_prompt(ANSWER, "chat", "Answer.")
EARLY = [build_prompt(ANSWER, layout, "Answer.") for layout in LAYOUTS if layout != "json"]
NEVER = [
    build_prompt(ANSWER, "json", "Answer."),
    *(build_prompt(ANSWER, layout, "Answer.", reasoning=True) for layout in LAYOUTS),
    *(build_prompt(SORT, layout, "Sort.") for layout in LAYOUTS),
    CHAT.model_copy(update={"reply": ReplyFormat(style="text", prefix="Answer: the ")}),
    CHAT.model_copy(update={"reply": ReplyFormat(style="labels")}),
    CHAT.model_copy(update={"reply": ReplyFormat(style="pattern", pattern="<(.*)>")}),
    CHAT.model_copy(update={"reply": ReplyFormat(style="path", paths={"answer": "$.answer"})}),
    CHAT.model_copy(update={"outputs": [Field(name="answer", type={"type": "string", "const": "red"})]}),
    CHAT.model_copy(update={"outputs": [Field(name="answer", type={"type": "string", "format": "date"})]}),
]


@given(prompt=st.sampled_from(EARLY), reply=replies, places=cuts)
@example(prompt=build_prompt(ANSWER, "dspy-chat", "Answer."), reply="\n[[ ## answer ## ]]\n[", places=[])
@settings(max_examples=300, deadline=None)
def test_what_is_shown_early_is_the_whole_value_and_nothing_of_a_reply_without_one(
    prompt: Prompt, reply: str, places: list[int]
) -> None:
    growing, shown = growing_value(prompt), ""
    assert growing is not None
    for piece in pieces(reply, places):
        shown += growing.feed(piece)
        assert shown == shown.strip()
    try:
        value = prompt.parse(reply)["answer"]
    except ReplyError:
        assert shown == ""
        return
    if not prompt.reply.finds(prompt.outputs, reply):
        assert shown == "", "only a reply of the prompt's own form is certain before its end"
        return
    held = value.removeprefix(
        shown
    )  # what could have become the output's label, or a marker, is shown at the end alone
    if prompt.reply.style == "text":
        assert held == (value if f"{prompt.outputs[0].label}:".startswith(reply.lstrip()) else "")
    else:
        assert value.startswith(shown) and BEGUN_MARKER.fullmatch(held.lstrip())


def test_nothing_is_shown_early_of_json_labels_and_typed_values() -> None:
    assert [growing_value(prompt) for prompt in NEVER] == [None] * len(NEVER)


@pytest.mark.parametrize(
    ("layout", "reply", "shown"),
    [
        ("raw", [" ", "\n", "the ", "mill", "\n"], ["", "", "the", " mill", ""]),
        ("chat", ["Ans", "wer", ":", " ", "old"], ["", "", "", "", "old"]),
        ("chat", ["Ans", "elm"], ["", "Anselm"]),
        ("dspy-chat", ["[[ ## answer ## ]]", "\n", "the\n", "[[ x", "!", "\n[[ ## b ## ]] more"],
         ["", "", "the", "", "\n[[ x!", ""]),
        ("dspy-chat", ["\n [[ ## answer", " ## ]] [[ ## b ## ]]", "\n[", "1]"], ["", "[[ ## b ## ]]", "", "\n[1]"]),
    ],
)  # fmt: skip
def test_what_cannot_change_is_shown_at_once(layout: str, reply: list[str], shown: list[str]) -> None:
    growing = growing_value(build_prompt(ANSWER, layout, "Answer."))
    assert growing is not None and [growing.feed(piece) for piece in reply] == shown
