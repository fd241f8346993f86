"""Lessons as token ids: exactly what vLLM's chat endpoint makes of the prompt, and the completion that follows it.

The prompt's ids stand alone, as the engine has them before it generates; the completion's ids go on from there and end
with the stop token. Nothing is cut: what exceeds the context comes back separately, with its length.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.student import Lesson
from optimizer.engine import CONTEXT_LIMIT
from optimizer.errors import UserError
from optimizer.models import Model
from optimizer.prompt import RAW_TEMPLATE, Prompt


@dataclass(frozen=True)
class Encoded:
    """A lesson's token ids. `completion` ends with the stop token, and only it is learned."""

    where: str
    prompt: tuple[int, ...]
    completion: tuple[int, ...]

    @property
    def ids(self) -> tuple[int, ...]:
        return self.prompt + self.completion

    @property
    def length(self) -> int:
        return len(self.prompt) + len(self.completion)


@dataclass(frozen=True)
class OverLong:
    """A row that the context cannot hold, and its length in tokens."""

    where: str
    tokens: int


class Encoder:
    """Tokenizes for one prompt. Raises `UserError` where the model's tokenizer lacks what the prompt's layout needs."""

    def __init__(self, tokenizer: Any, prompt: Prompt) -> None:
        self.tokenizer, self.raw = tokenizer, prompt.layout == "raw"
        if tokenizer.eos_token_id is None:
            raise UserError(f"The tokenizer of {prompt.model} names no end-of-text token.", "", "Choose another model.")
        if not self.raw and not tokenizer.chat_template:
            raise UserError(
                f"{prompt.model} has no chat template.",
                f"The layout {prompt.layout} needs one.",
                "Use the layout raw, or an instruction-tuned model.",
            )

    def text(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The prompt as the chat template writes it."""
        template = {"chat_template": RAW_TEMPLATE} if self.raw else {}
        turns = [dict(message) for message in messages]
        return str(self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, **template))

    def prompt_ids(self, messages: Sequence[Mapping[str, str]]) -> tuple[int, ...]:
        """The ids that the endpoint reports as `prompt_token_ids` for the same messages."""
        return tuple(self.tokenizer.encode(self.text(messages), add_special_tokens=self.raw))

    def completion_ids(self, messages: Sequence[Mapping[str, str]], completion: str) -> tuple[int, ...]:
        """The completion's ids as a continuation of the prompt, without the stop token.

        The joint tokenization counts where it leaves the prompt's ids as they are; where a token would span the border,
        which no engine can generate, the completion is tokenized alone.
        """
        prompt = self.prompt_ids(messages)
        joint = tuple(self.tokenizer.encode(self.text(messages) + completion, add_special_tokens=self.raw))
        if joint[: len(prompt)] == prompt:
            return joint[len(prompt) :]
        return tuple(self.tokenizer.encode(completion, add_special_tokens=False))

    def lesson(self, lesson: Lesson) -> Encoded:
        completion = self.completion_ids(lesson.messages, lesson.completion)
        stop = (int(self.tokenizer.eos_token_id),)
        return Encoded(lesson.where, self.prompt_ids(lesson.messages), completion + stop)


def encode(encoder: Encoder, lessons: Sequence[Lesson], limit: int) -> tuple[list[Encoded], list[OverLong]]:
    """All lessons as ids, and those longer than `limit` tokens apart."""
    rows = [encoder.lesson(lesson) for lesson in lessons]
    fitting = [row for row in rows if row.length <= limit]
    return fitting, [OverLong(row.where, row.length) for row in rows if row.length > limit]


def context_limit(model: Model) -> int:
    """The tokens of prompt and reply together that the engine will serve."""
    path = Path(model.path, "config.json")
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    own = config.get("text_config", config).get("max_position_embeddings")
    return min(int(own or CONTEXT_LIMIT), CONTEXT_LIMIT)
