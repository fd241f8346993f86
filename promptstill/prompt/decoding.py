"""How a prompt's reply is sampled: the decoding half of a request."""

from __future__ import annotations

from typing import Any

from promptstill.prompt.fields import FrozenModel


class Decoding(FrozenModel):
    """The sampling parameters of a request; `structured` and `response_format` go to the engine as they are.

    A `stop` counts only after `min_tokens`: a small model often begins with a line end, which, as the stop of a
    one-line answer, would leave that answer empty.
    """

    temperature: float = 0.0
    max_tokens: int
    min_tokens: int = 0
    stop: list[str] = []  # noqa: RUF012 (pydantic copies it; a factory would change the ids of prompts)
    structured: dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
