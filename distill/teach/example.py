"""What the student reads and writes: the bare prompt's messages, and the reply that states given outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from promptstill.prompt.fields import as_text
from promptstill.prompt.prompt import Prompt

AnswerSource = Literal["teacher", "gold"]


@dataclass(frozen=True)
class TrainingExample:
    """One example to train on: the messages of the student's prompt for `inputs`, and the reply to learn.

    `id` is the recipe row's; several examples may share it. `location` names that row in messages to the user.
    """

    id: str
    location: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    messages: Sequence[Mapping[str, str]]
    completion: str
    source: AnswerSource


def completion(prompt: Prompt, outputs: Mapping[str, Any]) -> str:
    """The reply that `prompt.parse` reads as `outputs`. In the layout `raw` it continues the prompt's last label."""
    if prompt.reply.style == "text":
        text = as_text(outputs[prompt.outputs[0].name])
        return f" {text}" if prompt.layout == "raw" else text
    lines = [f"{field.label}: {as_text(outputs[field.name])}" for field in prompt.outputs]
    return "\n".join(lines).removeprefix(prompt.reply.prefix)
