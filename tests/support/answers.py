"""Two small tasks and their rows, for tests of the teacher, the filter and the dataset."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

import dspy

from distill.teach.teacher import TeacherAnswer, ask_teacher
from promptstill import exact_match
from promptstill.endpoint.allowance import Allowance, Limits
from promptstill.endpoint.client import Client
from promptstill.endpoint.endpoint import Endpoint
from promptstill.endpoint.stores import file_url, open_calls
from promptstill.prompt.layouts.task import Task
from promptstill.prompt.prompt import Prompt
from promptstill.task.examples import Example


class Ask(dspy.Signature):
    """Answer."""

    question: str = dspy.InputField()
    answer: str = dspy.OutputField()


class AskOnTopic(dspy.Signature):
    """Answer."""

    topic: str = dspy.InputField()
    question: str = dspy.InputField()
    answer: str = dspy.OutputField()


EXACT = exact_match("answer")
BOXES = Task(AskOnTopic, "fake", 8)


def to_example(number: int, inputs: dict[str, str], outputs: dict[str, str]) -> Example:
    return Example(f"id{number}", f"rows.jsonl, line {number}", inputs, outputs, {**inputs, **outputs}, f"id{number}")


def example(number: int, answer: str | None = None) -> Example:
    """A row of `Ask`."""
    return to_example(number, {"question": f"q{number}"}, {} if answer is None else {"answer": answer})


def box(number: int, topic: str = "boxes", **outputs: str) -> Example:
    """A row of `BOXES`."""
    return to_example(number, {"topic": topic, "question": f"What does box {number} hold?"}, outputs)


def teacher_answers(
    at: str | Endpoint, prompt: Prompt, rows: list[Example], folder: Path, *, k: int = 2, limits: Limits | None = None
) -> tuple[list[TeacherAnswer], list[tuple[int, int]]]:
    """The answers of the teacher at an address or endpoint, stored in `folder`, and the progress that was reported."""
    reports: list[tuple[int, int]] = []

    async def ask() -> list[TeacherAnswer]:
        endpoint = Endpoint(at, "weights", window=4) if isinstance(at, str) else at
        with closing(open_calls(file_url(folder / "calls.db"))) as store:
            async with Client(endpoint, store, Allowance(limits, store.totals())) as client:
                return await ask_teacher(
                    prompt, rows, client, k=k, temperature=0.8, report=lambda done, total: reports.append((done, total))
                )

    return asyncio.run(ask()), reports
