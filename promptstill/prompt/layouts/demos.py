"""The fixed demos of a prompt as values again: read back from its messages, by the rule of its layout.

Raises `UserError` for demos that are picked for each input.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from promptstill.errors import ReplyError, UserError
from promptstill.prompt.fields import REASONING, Field
from promptstill.prompt.prompt import Message, Prompt
from promptstill.prompt.reply import read_markers
from promptstill.prompt.template import slots

DSPY_LAYOUTS = ("dspy-chat", "json")  # their inputs stand under DSPy's markers
NOT_SUPPLIED = "Not supplied for this particular example."  # what DSPy writes for a field that a demo lacks


def read_demos(prompt: Prompt) -> list[dict[str, Any]]:
    """The prompt's fixed demos, a value for each field. Raises `UserError`."""
    if prompt.nearest is not None:
        raise UserError(
            "The demos of this prompt are picked for each input.",
            "dspy.Predict shows each input the same demos.",
            "Search without nearest demos, by Recipe.from_program; or serve the prompt as it is: serve best.json",
        )
    turns = [message for message in prompt.fixed if message.role != "system"]
    try:
        demos = read_turns(prompt, turns) if turns else read_message(prompt)
        return [read_values(prompt, demo) for demo in demos]
    except (ReplyError, KeyError, ValueError) as error:
        raise UserError(
            "The demos of this prompt cannot be read back from its messages.",
            f"{type(error).__name__}: {error}",
            "Search again with DSPy's own layout: --layout dspy-chat",
        ) from error


def read_values(prompt: Prompt, demo: Mapping[str, Any]) -> dict[str, Any]:
    """A demo's values, each of its field's type; without a reasoning that it does not have."""
    lacking = {REASONING} if str(demo.get(REASONING)).strip() == NOT_SUPPLIED else set()
    return {field.name: field.accept(demo[field.name]) for field in fields_of(prompt) if field.name not in lacking}


def fields_of(prompt: Prompt) -> list[Field]:
    return [*prompt.inputs, *prompt.outputs]


def read_turns(prompt: Prompt, turns: Sequence[Message]) -> list[dict[str, Any]]:
    """Demos that are pairs of turns."""
    pairs = zip(turns[::2], turns[1::2], strict=True)
    return [{**read_question(prompt, asked.content), **prompt.parse(reply.content)} for asked, reply in pairs]


def read_question(prompt: Prompt, text: str) -> dict[str, Any]:
    """The inputs in a demo's user turn."""
    if prompt.layout in DSPY_LAYOUTS:
        return read_markers(prompt.inputs, text)
    found = re.fullmatch(template_pattern(prompt.user), text, re.DOTALL)
    if found is None:
        raise ValueError(f"no question of this prompt: {text[:80]!r}")
    return whole_values(prompt, found.groupdict()) if len(prompt.inputs) > 1 else found.groupdict()


def read_message(prompt: Prompt) -> list[dict[str, Any]]:
    """Demos inside the last message: each is the question again, with the answer under its labels."""
    if prompt.layout in DSPY_LAYOUTS:
        return []
    before = "".join(text for text, _ in until_slot(prompt.user))
    label = f"{prompt.inputs[0].label}: "
    question = "\n".join(f"{re.escape(field.label)}: (?P<{field.name}>.*?)" for field in prompt.inputs)
    answer = "\n".join(f"{re.escape(field.label)}: (?P<{field.name}>.*?)" for field in prompt.outputs)
    ends = rf"(?=\n\n{re.escape(label)}|\n\n\Z)"
    shown = before.removesuffix(label)
    demos = [one.groupdict() for one in re.finditer(rf"(?<=\n\n){question}\n{answer}{ends}", shown, re.DOTALL)]
    written = "".join(write_demo(prompt, demo) for demo in demos)
    if not shown.endswith(written) or f"\n\n{label}" in shown.removesuffix(written):
        raise ValueError("a demo holds what looks like the beginning of another")
    return [whole_values(prompt, demo) for demo in demos]


def whole_values(prompt: Prompt, demo: dict[str, str]) -> dict[str, str]:
    """The values. Raises `ValueError` where one holds the label of a field, and may have been cut there or not."""
    labels = "|".join(re.escape(field.label) for field in fields_of(prompt))
    for name, value in demo.items():
        if re.search(rf"^({labels}):", value, re.MULTILINE):
            raise ValueError(f"{name} of a demo holds a line that begins like a field")
    return demo


def write_demo(prompt: Prompt, demo: Mapping[str, str]) -> str:
    """A demo as it stands inside a message, to see that it was read whole."""
    return "\n".join(f"{field.label}: {demo[field.name]}" for field in fields_of(prompt)) + "\n\n"


def until_slot(template: str) -> Iterator[tuple[str, object]]:
    """The parts of a template up to its first slot; a doubled brace ends a part too."""
    for part in slots(template):
        yield part
        if part[1]:
            return


def template_pattern(template: str) -> str:
    """A pattern for the texts that a template fills to, with a group for each field."""
    parts = [re.escape(text) + (f"(?P<{slot[0]}>.*?)" if slot else "") for text, slot in slots(template)]
    return "".join(parts)
