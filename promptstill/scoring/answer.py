"""A prompt's answer to inputs: the one place that renders a prompt, asks a model and reads its reply.

Callers build no request and read no reply. A prompt that is one predictor's of a program answers by way of program.py.
What stays apart: the probe of layouts, calibration and the check of an adapter, which alter the request, and `serve`,
which has clients of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from promptstill.endpoint.choices import complete_many
from promptstill.endpoint.client import Client
from promptstill.endpoint.store import Completion
from promptstill.errors import ReplyError, RequestRefused
from promptstill.prompt.prompt import Prompt

Problem = Literal["refused", "unparsed"]
NO_REPLY = Completion("", "", 0, 0, 0, 0.0)


@dataclass(frozen=True)
class Part:
    """What one predictor of a program was asked last, and what it answered; None where that could not be used."""

    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any] | None

    @property
    def demo(self) -> dict[str, Any]:
        """Its values together; none without an answer."""
        return {} if self.outputs is None else {**self.inputs, **self.outputs}


@dataclass(frozen=True)
class ModelAnswer:
    """The answer to one row of inputs.

    completion: empty where the endpoint refused the request; of a program all its calls together. outputs: None where
    the reply cannot be used; `problem` and `detail` then say why. part: of a program, that of the predictor that is
    searched, where it was asked.
    """

    completion: Completion
    outputs: Mapping[str, Any] | None
    problem: Problem | None = None
    detail: str = ""
    part: Part | None = None

    @property
    def cut(self) -> bool:
        """Whether the reply ended at max_tokens; it may parse all the same."""
        return self.completion.finish_reason == "length"

    @property
    def reason(self) -> str | None:
        """Why the reply cannot be used, in one line; None where it can."""
        cut = " (cut at max_tokens)" if self.cut else ""
        return f"{self.problem}{cut}: {self.detail}" if self.problem else None


@dataclass(frozen=True)
class Question:
    """A prompt and one row's inputs. It is rendered once, when it is first asked, however many samples are asked."""

    prompt: Prompt
    inputs: Mapping[str, Any]

    @cached_property
    def _body(self) -> dict[str, Any]:
        return self.prompt.request(self.inputs)

    async def ask(self, client: Client, role: str, *, sample: int = 0, temperature: float | None = None) -> ModelAnswer:
        """The answer, from the store or from the endpoint.

        role: what the call is counted as. sample: tells samples of one question apart. temperature: instead of the
        prompt's own, where the endpoint takes one. Raises what `Client.complete` raises, but for `RequestRefused`, and
        `UserError` for wrong inputs.
        """
        try:
            completion = await client.complete(self._body_at(temperature), role, sample)
        except RequestRefused as error:
            return ModelAnswer(NO_REPLY, None, "refused", str(error))
        return read_answer(self.prompt, completion)

    async def ask_many(
        self, client: Client, role: str, *, samples: Sequence[int], temperature: float | None = None
    ) -> list[ModelAnswer]:
        """The answers of several samples, by one request where the endpoint gives several choices; else as `ask`."""
        try:
            completions = await complete_many(client, self._body_at(temperature), role, samples)
        except RequestRefused as error:
            return [ModelAnswer(NO_REPLY, None, "refused", str(error)) for _ in samples]
        return [read_answer(self.prompt, one) for one in completions]

    def _body_at(self, temperature: float | None) -> dict[str, Any]:
        takes_it = temperature is not None and self.prompt.decoding.dialect.temperature
        return self._body | {"temperature": temperature} if takes_it else self._body


async def answer(
    prompt: Prompt, inputs: Mapping[str, Any], client: Client, role: str = "task", sample: int = 0
) -> ModelAnswer:
    """A prompt's answer to inputs, asked once; see `Question.ask`."""
    return await Question(prompt, inputs).ask(client, role, sample=sample)


def stored_answer(prompt: Prompt, inputs: Mapping[str, Any], client: Client, sample: int = 0) -> ModelAnswer | None:
    """The answer as far as it needs no call; None where the endpoint must be asked."""
    completion = client.find_stored(prompt.request(inputs), sample)
    return read_answer(prompt, completion) if completion else None


def read_answer(prompt: Prompt, completion: Completion) -> ModelAnswer:
    """The outputs in a reply, or why it has none."""
    try:
        return ModelAnswer(completion, prompt.parse(completion.text))
    except ReplyError as error:
        return ModelAnswer(completion, None, "unparsed", str(error))
