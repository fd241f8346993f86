"""Asks the teacher: for each row one greedy reply and `k` sampled ones, every one stored before it counts.

A reply that cannot be used is an answer with its reason, never a lost row. A row that the prompt shows as a fixed demo
is not asked: the teacher would copy its label.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distill.reasons import Reason
from optimizer.client import Client
from optimizer.errors import BudgetReached, ReplyError, RequestRefused
from optimizer.examples import Example
from optimizer.fields import as_text
from optimizer.prompt import Prompt
from optimizer.template import fill

Report = Callable[[int, int], None]
Request = tuple[int, int, dict[str, Any]]


@dataclass(frozen=True)
class Answer:
    """One reply to one row. `sample` 0 is greedy; `outputs` is None, and `reason` says why, where it is of no use."""

    example: Example
    sample: int
    text: str
    outputs: Mapping[str, Any] | None
    reason: Reason | None


async def ask_teacher(
    prompt: Prompt, examples: Sequence[Example], client: Client, *, k: int, temperature: float, report: Report
) -> list[Answer]:
    """All answers, in the order of `examples` and then of samples; `report` hears how many of how many are done.

    As many workers as the client's window draw from one queue, row by row: the window stays full, the requests of a
    row leave together (so the engine's prefix cache has their prompt), and no more bodies exist than are in flight.
    The first error that concerns the run is raised and cancels the rest; a budget only keeps new calls from leaving.
    """
    shown = shown_text(prompt)
    demos = {number for number, example in enumerate(examples) if stands_in(shown, example.inputs)}
    asked = [number for number in range(len(examples)) if number not in demos]
    found = {(n, 0): Answer(examples[n], 0, "", None, Reason("stands in the prompt as a demo")) for n in demos}
    total = len(asked) * (k + 1)
    queue = to_requests(prompt, examples, asked, k, temperature)

    async def work() -> None:
        for number, sample, body in queue:
            found[number, sample] = await ask(prompt, examples[number], sample, body, client)
            report(len(found) - len(demos), total)

    workers = [asyncio.create_task(work()) for _ in range(min(client.endpoint.window, total))]
    try:
        await asyncio.gather(*workers)
    except BudgetReached:
        await asyncio.wait(workers)  # no other may begin a call, but what is in flight is paid for: it is stored
        raise
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return [found[key] for key in sorted(found)]


def to_requests(
    prompt: Prompt, examples: Sequence[Example], asked: Sequence[int], k: int, temperature: float
) -> Iterator[Request]:
    """Row number, sample number and body of every call; a row is rendered once, when its turn comes."""
    for number in asked:
        body = prompt.request(examples[number].inputs)
        for sample in range(k + 1):
            yield number, sample, body | {"temperature": temperature if sample else 0.0}


async def ask(prompt: Prompt, example: Example, sample: int, body: dict[str, Any], client: Client) -> Answer:
    """One call, read. A reply cut at max_tokens is of no use even where it parses: a student would learn to stop so."""
    try:
        completion = await client.complete(body, "teacher", sample)
    except RequestRefused as error:
        return Answer(example, sample, "", None, Reason("refused", str(error)))
    text = completion.text
    if completion.finish_reason == "length":
        return Answer(example, sample, text, None, Reason("cut at max_tokens"))
    try:
        return Answer(example, sample, text, prompt.parse(text), None)
    except ReplyError as error:
        return Answer(example, sample, text, None, Reason("unparsed", str(error)))


def shown_text(prompt: Prompt) -> str:
    """All that the prompt says to every row: its fixed messages, and its last message with a line end in each slot."""
    last = fill(prompt.user, {field.name: "\n" for field in prompt.inputs}, "\n")
    return "\n".join([*(message.content for message in prompt.fixed), last])


def stands_in(shown: str, inputs: Mapping[str, Any]) -> bool:
    """Whether every input stands in the text as a demo's field does: alone on its lines, perhaps after a label.

    A mere substring is no demo: the review "good" stands in "say whether it is good or bad".
    """
    values = [value for value in inputs.values() if as_text(value).strip()]
    return bool(values) and all(value_stands_in(shown, value) for value in values)


def value_stands_in(shown: str, value: Any) -> bool:
    """One input. Layouts write a list or an object each in its own way, so there its texts need only occur."""
    if isinstance(value, Mapping | list):
        return all(text in shown for text in leaves(value))
    text = as_text(value).strip()
    return text in shown and re.search(rf"(?:^|:)[^\S\n]*{re.escape(text)}\s*$", shown, re.MULTILINE) is not None


def leaves(value: Any) -> list[str]:
    """The texts inside a value."""
    if isinstance(value, Mapping | list):
        items = value.values() if isinstance(value, Mapping) else value
        return [text for item in items for text in leaves(item)]
    return [as_text(value).strip()]
