"""A user's prompt file: what it sends, what is refused by name, and the way back into a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import dspy
import pytest

from promptstill import OwnPrompt, Prompt, UserError
from promptstill.prompt.layouts import LAYOUTS
from promptstill.prompt.layouts.build import build_prompt
from promptstill.prompt.layouts.task import Task
from promptstill.task.open import read_own_of
from tests.support import artifacts
from tests.support.tasks import ANSWER, ANSWER_DEMOS, ANSWER_INPUTS, DEMO_POLICIES

PRODUCTION = """\
# system

You route {tickets} of the shop "{{ shop }}". Answer as JSON: {"team": "bug"}.

# user

Ticket: I paid twice.

# assistant

{"team": "billing", "why": "money"}

# user

Ticket: {{ticket}} {{{ticket}}} {% raw
"""
INPUTS = {"ticket": "It {{shop}} {x} <|im_end|>", "shop": "Ann's"}


class Route(dspy.Signature):
    """Route it."""

    ticket: str = dspy.InputField()
    shop: str = dspy.InputField()
    team: Literal["billing", "bug"] = dspy.OutputField()


TASK = Task(Route, "m", 16)


def own(folder: Path, text: str, name: str = "mine.md", task: Task = TASK, **how: Any) -> Prompt:
    (folder / name).write_text(text, encoding="utf-8")
    return read_own_of(OwnPrompt(folder / name, **how), task)


def refusal(folder: Path, text: str, name: str = "mine.md", **how: Any) -> str:
    with pytest.raises(UserError) as caught:
        own(folder, text, name, **how)
    return str(caught.value)


def test_markdown_is_sent_word_for_word_with_its_slots_filled_in_every_message(tmp_path: Path) -> None:
    prompt = own(tmp_path, PRODUCTION)
    defused = prompt.model_copy(update={"markers": ["<|im_end|>"]})
    assert prompt.messages(INPUTS) == [
        {"role": "system", "content": 'You route {tickets} of the shop "Ann\'s". Answer as JSON: {"team": "bug"}.'},
        {"role": "user", "content": "Ticket: I paid twice."},
        {"role": "assistant", "content": '{"team": "billing", "why": "money"}'},
        {"role": "user", "content": "Ticket: {0} {{{0}}} {{% raw".format(INPUTS["ticket"])},
    ]
    assert "<|im_end|>" not in defused.messages(INPUTS)[-1]["content"]
    assert prompt.parse('{"team": "bug", "why": "it fails"}') == {"team": "bug"}
    assert prompt.layout == "own" and prompt.instruction == 'You route {tickets} of the shop "'


def test_a_text_without_roles_is_one_user_message_whatever_its_other_headings(tmp_path: Path) -> None:
    text = "# Task\n\nName the team.\n\n## User story\n\n{{ ticket }}\n"
    for name in ("a.md", "a.txt", "a.j2"):
        (message,) = own(tmp_path, text, name).messages(INPUTS)
        assert message["content"] == text.removesuffix("\n").replace("{{ ticket }}", INPUTS["ticket"])


def test_openai_messages_bring_their_decoding(tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "Route."}, {"role": "user", "content": "{{ticket}}"}]
    form = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": {"type": "object"}}}
    body = {"model": "gpt", "messages": messages, "temperature": 0.7, "max_tokens": 40, "stop": "\n"}
    prompt = own(tmp_path, json.dumps(body | {"response_format": form}), "mine.json")
    sent = prompt.request(INPUTS)
    assert sent["temperature"] == 0.7 and sent["max_tokens"] == 40 and sent["stop"] == ["\n"]
    assert sent["response_format"] == form and sent["model"] == "m" and prompt.reply.style == "json"
    assert own(tmp_path, json.dumps(messages), "list.json").messages(INPUTS)[0]["content"] == "Route."


def test_the_answer_is_read_as_the_recipe_or_the_file_says(tmp_path: Path) -> None:
    text = "{{ticket}} Say: Team: X"
    by_recipe = own(tmp_path, text, pattern=r"Team: (\w+)")
    by_file = own(tmp_path, "---\npattern: Team: (\\w+)\nmax_tokens: 9\n---\n" + text)
    assert by_recipe.reply == by_file.reply and by_recipe.messages(INPUTS) == by_file.messages(INPUTS)
    assert by_recipe.parse("Team: bug") == {"team": "bug"} and by_file.decoding.max_tokens == 9
    assert own(tmp_path, text, path="$.a.team").parse('{"a": {"team": "bug"}}') == {"team": "bug"}
    assert own(tmp_path, text).parse(" bug.") == {"team": "bug"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Hi\n{{tiket}}", "mine.md, line 2: {{tiket}} cannot be filled.\nDid you mean {{ticket}}? The recipe's inputs"),
        ("{% if x %}{{ticket}}", "line 1: {% if x %} cannot be filled.\nA slot holds the name of one input"),
        ("{{ ticket | upper }}", "{{ ticket | upper }} cannot be filled"),
        ("{{ row.ticket }}", "{{ row.ticket }} cannot be filled"),
        ("{{ticket}} {# why #}", "{# why #} cannot be filled"),
        ("Ticket: { ticket }", "has no slot for an input.\n{ticket} has single braces, which are text"),
        ("Ticket:", "Every row would get the same request"),
        ("# user\n{{ticket}}\n# assistant\nbug", "does not end with a user message"),
        ("\n\nHi\n# user\n{{ticket}}", "mine.md, line 3: text stands before the first role, # user"),
        ("# user\nq\n# assistant\nred\n# user\n{{ticket}}", "not one answer of its own demos can be read"),
        ("{{ticket}}" * 5, "the template names {ticket} 5 times"),
        ("---\ntop_p: 1\n---\n{{ticket}}", "mine.md, line 2: 'top_p' is no setting"),
        ("---\npattern: (a)\\1\n---\n{{ticket}}", "backreferences, lookaround"),
        ("---\nreply: poem\n---\n{{ticket}}", "reply.style"),
        ("---\nmax_tokens: many\n---\n{{ticket}}", "decoding.max_tokens"),
    ],
)  # fmt: skip
def test_what_cannot_be_sent_is_named(text: str, told: str, tmp_path: Path) -> None:
    assert told in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is not JSON"),
        ('{"prompt": "x"}', "holds no messages"),
        ('[{"role": "tool", "content": "x"}]', "message 1 is no message of role and text"),
        ('[{"role": "user", "content": [{"type": "image_url"}]}]', "images and tools are not taken"),
        ('{"messages": [{"role": "user", "content": "{{ticket}}"}], "tools": []}', "'tools' is no setting"),
        ('[\n{"role": "user", "content": "{{tiket}}"}]', "mine.json, line 2: {{tiket}}"),
    ],
)
def test_messages_that_cannot_be_sent_are_named(text: str, told: str, tmp_path: Path) -> None:
    assert told in refusal(tmp_path, text, "mine.json")


def test_a_file_of_another_kind_and_none_at_all(tmp_path: Path) -> None:
    assert "is no prompt file by its name" in refusal(tmp_path, "x", "mine.yaml")
    with pytest.raises(UserError, match="does not exist"):
        read_own_of(OwnPrompt(tmp_path / "none.md"), TASK)


@pytest.mark.parametrize("form", ["md", "json"])
def test_a_prompt_of_the_users_own_goes_back_into_its_form(form: Literal["md", "json"], tmp_path: Path) -> None:
    prompt = own(tmp_path, PRODUCTION)
    written = prompt.to_own(form)
    again = own(tmp_path, written, f"again.{form}")
    assert again.id == prompt.id and again.to_own(form) == written


@pytest.mark.parametrize("form", ["md", "json"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("k", [0, 2])
def test_a_prompt_of_any_layout_as_a_file_sends_the_same_requests(
    layout: str, k: int, form: Literal["md", "json"], tmp_path: Path
) -> None:
    instruction = ' Do {{it}} {% x %} {# y #} "{context}"\n# user\n---\r\n ## assistant  '
    prompt = build_prompt(ANSWER, layout, instruction, ANSWER_DEMOS, k=k)
    again = own(tmp_path, prompt.to_own(form), f"x.{form}", ANSWER)
    assert again.request(ANSWER_INPUTS) == prompt.request(ANSWER_INPUTS) and again.reply == prompt.reply
    assert again.to_own(form) == (tmp_path / f"x.{form}").read_text()


@pytest.mark.parametrize("form", ["md", "json"])
def test_the_bias_of_a_calibrated_prompt_goes_into_the_file(form: Literal["md", "json"], tmp_path: Path) -> None:
    prompt, task = artifacts.calibrated_prompt("m"), Task(artifacts.Feel, "m", 8)
    again = own(tmp_path, prompt.to_own(form), f"x.{form}", task)
    assert again.request({"thing": "ice"}) == prompt.request({"thing": "ice"})
    assert again.decoding.logit_bias == {"17": 1.25, "42": -1.25}
    assert "decoding.logit_bias" in refusal(tmp_path, "---\nlogit_bias: much\n---\n{{ticket}}")


def test_demos_that_are_picked_by_input_are_no_file() -> None:
    prompt = build_prompt(ANSWER, "chat", "Answer.", DEMO_POLICIES["nearest"], k=2)
    with pytest.raises(UserError, match="picks its demos anew for each input"):
        prompt.to_own("md")
