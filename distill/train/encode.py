"""Training examples as token ids: exactly what vLLM's chat endpoint makes of the prompt, then the completion.

The prompt is tokenized alone, as the engine has it before it generates. The completion continues it and ends with the
stop token. Nothing is cut: examples longer than the context are returned separately, with their length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distill.teach.example import TrainingExample
from promptstill.errors import UserError
from promptstill.prompt.prompt import RAW_TEMPLATE, Prompt


@dataclass(frozen=True)
class EncodedExample:
    """A training example's token ids. `completion` ends with the stop token; only the completion is learned."""

    location: str
    prompt: tuple[int, ...]
    completion: tuple[int, ...]

    @property
    def ids(self) -> tuple[int, ...]:
        return self.prompt + self.completion

    @property
    def length(self) -> int:
        return len(self.prompt) + len(self.completion)


@dataclass(frozen=True)
class TooLong:
    """An example that the context cannot hold, and its length in tokens."""

    location: str
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

    def prompt_text(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The prompt as the chat template writes it."""
        template = {"chat_template": RAW_TEMPLATE} if self.raw else {}
        plain = [dict(message) for message in messages]
        return str(self.tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=True, **template))

    def prompt_ids(self, messages: Sequence[Mapping[str, str]]) -> tuple[int, ...]:
        """The ids that the endpoint reports as `prompt_token_ids` for the same messages."""
        return tuple(self.tokenizer.encode(self.prompt_text(messages), add_special_tokens=self.raw))

    def completion_ids(self, messages: Sequence[Mapping[str, str]], completion: str) -> tuple[int, ...]:
        """The completion's ids as a continuation of the prompt, without the stop token.

        Prompt and completion are tokenized together where that leaves the prompt's ids as they are. Where a token would
        span the border, which no engine can generate, the completion is tokenized alone.
        """
        prompt = self.prompt_ids(messages)
        joint = tuple(self.tokenizer.encode(self.prompt_text(messages) + completion, add_special_tokens=self.raw))
        if joint[: len(prompt)] == prompt:
            return joint[len(prompt) :]
        return tuple(self.tokenizer.encode(completion, add_special_tokens=False))

    def encode(self, example: TrainingExample) -> EncodedExample:
        completion = self.completion_ids(example.messages, example.completion)
        stop = (int(self.tokenizer.eos_token_id),)
        return EncodedExample(example.location, self.prompt_ids(example.messages), completion + stop)


def encode_examples(
    encoder: Encoder, examples: Sequence[TrainingExample], limit: int
) -> tuple[list[EncodedExample], list[TooLong]]:
    """The examples of at most `limit` tokens as ids, and the longer ones."""
    rows = [encoder.encode(example) for example in examples]
    fitting = [row for row in rows if row.length <= limit]
    return fitting, [TooLong(row.location, row.length) for row in rows if row.length > limit]
