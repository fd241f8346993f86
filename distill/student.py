"""What the student reads and writes: the bare prompt's messages, and the reply that states given outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from optimizer.fields import as_text
from optimizer.prompt import Prompt

Source = Literal["teacher", "gold"]


@dataclass(frozen=True)
class Lesson:
    """One training row: the messages that the student's prompt renders for `inputs`, and the reply to learn.

    `id` is the example's; several lessons may share it. `where` names the row for messages to the user.
    """

    id: str
    where: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    messages: Sequence[Mapping[str, str]]
    completion: str
    source: Source


def completion(prompt: Prompt, outputs: Mapping[str, Any]) -> str:
    """The reply that `prompt.parse` reads as `outputs`; in `raw` it goes on where the prompt's last label ends."""
    if prompt.reply.style == "text":
        text = as_text(outputs[prompt.outputs[0].name])
        return f" {text}" if prompt.layout == "raw" else text
    lines = [f"{field.label}: {as_text(outputs[field.name])}" for field in prompt.outputs]
    return "\n".join(lines).removeprefix(prompt.reply.prefix)
