"""Asks the teacher: for each row one greedy reply and `k` sampled ones, these by one request where the endpoint gives
several choices. Every reply is stored before it counts.

A reply that cannot be used is an answer with its reason, so no row is lost. A row that the prompt shows as a fixed demo
is not asked: the teacher would copy its label.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distill.teach.reasons import Reason
from promptstill.endpoint.allowance import LimitReached
from promptstill.endpoint.client import Client
from promptstill.prompt.fields import as_text
from promptstill.prompt.prompt import Prompt
from promptstill.scoring.answer import ModelAnswer, Question
from promptstill.task.examples import Example

TEACHER = "teacher"  # the role of its calls
ReportAnswers = Callable[[int, int], None]
TeacherRequest = tuple[int, Sequence[int], Question]  # row number, sample numbers, what is asked


@dataclass(frozen=True)
class TeacherAnswer:
    """One reply to one row; `sample` 0 is greedy. An unusable reply has no `outputs`, but a `reason`."""

    example: Example
    sample: int
    text: str
    outputs: Mapping[str, Any] | None
    reason: Reason | None


async def ask_teacher(
    prompt: Prompt, examples: Sequence[Example], client: Client, *, k: int, temperature: float, report: ReportAnswers
) -> list[TeacherAnswer]:
    """All answers, in the order of `examples` and then of samples. `report(done, total)` is called as replies come.

    As many workers as the client's window take requests from one queue, row by row. So the window stays full, the
    requests of a row leave together (the engine's prefix cache then has their prompt), and no more bodies exist than
    are in flight. The first error that concerns the run is raised and cancels the rest. A limit that is reached only
    keeps new calls from leaving.
    """
    demos = shown_rows(prompt, examples)
    others = [number for number in range(len(examples)) if number not in demos]
    found = {(n, 0): TeacherAnswer(examples[n], 0, "", None, Reason("stands in the prompt as a demo")) for n in demos}
    total = len(others) * (k + 1)
    queue = to_requests(prompt, examples, others, k)

    async def work() -> None:
        for number, samples, question in queue:
            heat = temperature if samples[0] else 0.0
            answers = await question.ask_many(client, TEACHER, samples=samples, temperature=heat)
            for sample, given in zip(samples, answers, strict=True):
                found[number, sample] = to_teacher_answer(examples[number], sample, given)
            report(len(found) - len(demos), total)

    workers = [asyncio.create_task(work()) for _ in range(min(client.endpoint.window, total))]
    try:
        await asyncio.gather(*workers)
    except LimitReached:
        await asyncio.wait(workers)  # no new call may leave, but those in flight are paid for, so they are stored
        raise
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return [found[key] for key in sorted(found)]


def to_requests(
    prompt: Prompt, examples: Sequence[Example], numbers: Sequence[int], k: int
) -> Iterator[TeacherRequest]:
    """The requests for the rows of these numbers: a greedy one, and one for all samples. They share one question, so
    that it is rendered once."""
    for number in numbers:
        question = Question(prompt, examples[number].inputs)
        yield number, (0,), question
        if k:
            yield number, range(1, k + 1), question


def to_teacher_answer(example: Example, sample: int, given: ModelAnswer) -> TeacherAnswer:
    """A reply that was cut at max_tokens is unusable even where it parses: from it a student would learn to stop in
    the middle."""
    text = given.completion.text
    if given.cut:
        return TeacherAnswer(example, sample, text, None, Reason("cut at max_tokens"))
    reason = Reason(given.problem, given.detail) if given.problem else None
    return TeacherAnswer(example, sample, text, given.outputs, reason)


def shown_rows(prompt: Prompt, examples: Sequence[Example]) -> set[int]:
    """The numbers of the rows that the prompt shows as fixed demos."""
    fixed = fixed_text(prompt)
    return {number for number, example in enumerate(examples) if is_demo(fixed, example.inputs)}


def fixed_text(prompt: Prompt) -> str:
    """The text that is the same for every row, with a line end in each slot."""
    return "\n".join(message["content"] for message in prompt.preview("\n"))


def is_demo(fixed: str, inputs: Mapping[str, Any]) -> bool:
    """Whether every input stands in the text as a demo's field does: alone on its lines, perhaps after a label.

    A mere substring is no demo: the review "good" stands in "say whether it is good or bad".
    """
    values = [value for value in inputs.values() if as_text(value).strip()]
    return bool(values) and all(value_is_demo(fixed, value) for value in values)


def value_is_demo(fixed: str, value: Any) -> bool:
    """The same for one input. Layouts write lists and objects differently: there every inner text must occur."""
    if isinstance(value, Mapping | list):
        return all(text in fixed for text in inner_texts(value))
    text = as_text(value).strip()
    return text in fixed and re.search(rf"(?:^|:)[^\S\n]*{re.escape(text)}\s*$", fixed, re.MULTILINE) is not None


def inner_texts(value: Any) -> list[str]:
    """The texts inside a value."""
    if isinstance(value, Mapping | list):
        items = value.values() if isinstance(value, Mapping) else value
        return [text for item in items for text in inner_texts(item)]
    return [as_text(value).strip()]
