"""The subjects of a measurement in the form in which a model's endpoint takes them.

A prompt that a search found on the model is sent as it was then, unless the endpoint refuses that. Others are sent in
the endpoint's dialect; those whose requests not every endpoint takes are ported (scoring/port.py). A program's are not:
what its prompts are asked is known only in its run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from optimizer.measure.subject import ProgramSubject, PromptSubject, Subject
from promptstill.dialect import VLLM, Dialect
from promptstill.endpoint.client import Client
from promptstill.endpoint.dialect import find_dialect, plain_request
from promptstill.endpoint.store import Completion
from promptstill.engine.markers import find_markers
from promptstill.engine.models import Model
from promptstill.errors import RequestRefused
from promptstill.events import Say
from promptstill.files import canonical_json
from promptstill.scoring.answer import answer
from promptstill.scoring.port import AS_IT_IS, PORT_CALLS, needs_port, port_line, port_prompt
from promptstill.task.examples import Example


def port_calls(subject: Subject, model: str) -> int:
    """The calls that finding a subject's form takes at most, besides those of its rows. model: its name."""
    is_ported = isinstance(subject, PromptSubject) and not subject.found_on(model) and needs_port(subject.prompt)
    return PORT_CALLS if is_ported else 0


@dataclass(frozen=True)
class Porter:
    """Ports subjects to a model at the client's endpoint. row: of test, a short one, by which the forms are found."""

    model: Model
    row: Example
    client: Client
    say: Say

    async def port(self, subjects: Sequence[Subject]) -> list[Subject]:
        """The subjects as the model is asked them; a line for each that changes. Raises `UserError`."""
        name = self.model.name
        markers = await find_markers(self.model, self.client)
        ported = [await self.port_one(subject) for subject in subjects]
        drafts = [one.on(name, markers, VLLM) for one, other in zip(subjects, ported, strict=True) if other is None]
        dialect = self.client.dialects[name] = await self.find_dialect(drafts)
        found = [other or one.on(name, markers, dialect) for one, other in zip(subjects, ported, strict=True)]
        for before, after in zip(subjects, found, strict=True):
            self.tell(before, after)
        return found

    async def port_one(self, subject: Subject) -> Subject | None:
        """The ported subject; None for one that is sent in its own form."""
        if not isinstance(subject, PromptSubject) or self.row.program:
            return None
        if subject.found_on(self.model.name):
            first = await answer(subject.prompt, self.row.inputs, self.client)
            wanted = first.problem == "refused"
        else:
            wanted = needs_port(subject.prompt)
        if not wanted:
            return None
        return replace(subject, prompt=await port_prompt(subject.prompt, self.model, self.row.inputs, self.client))

    async def find_dialect(self, subjects: Sequence[Subject]) -> Dialect:
        """What the endpoint takes, by the first request that it takes at all: that of a prompt that was not found on
        the model, whose reply is then stored as the row's own, else a short one where one of them is a program."""

        async def ask(body: dict[str, object]) -> Completion:
            return await self.client.complete(body, "probe")

        requests = [one.first_request(self.row) for one in subjects]
        is_program = any(isinstance(one, ProgramSubject) for one in subjects)
        short = [plain_request(self.model.name)] if is_program else []
        for body in [*(body for body in requests if body), *short]:
            with contextlib.suppress(RequestRefused):
                return (await find_dialect(ask, body, VLLM))[0]
        return VLLM

    def tell(self, before: Subject, after: Subject) -> None:
        """Say in which form the endpoint is asked, where it is not the subject's own."""
        if not isinstance(before, PromptSubject) or not isinstance(after, PromptSubject):
            return
        name, line = self.model.name, port_line(before.prompt, after.prompt)
        if before.origin and not before.found_on(name):
            self.say(f"{before.label} was found on {before.origin.model}: here {name} is asked {line}")
        elif line != AS_IT_IS and before.prompt != after.prompt:
            self.say(f"{before.label}: {name} is asked {line}")


def shortest(rows: Sequence[Example]) -> Example:
    """The row with the shortest inputs: a refusal of its request is none of its length."""
    return min(rows, key=lambda row: len(canonical_json(dict(row.inputs))))
