"""Score one prompt on rows. A row that fails is a recorded zero with its reason; a metric that fails stops the run."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from optimizer.client import Client
from optimizer.errors import BudgetReached, PromptstillError, ReplyError, RequestRefused, UserError
from optimizer.examples import Example
from optimizer.metrics import Metric
from optimizer.prompt import Prompt

Result = TypeVar("Result")
WAITING = ThreadPoolExecutor(32, "judging")  # threads that wait for judges; none is begun before one is asked


@dataclass(frozen=True)
class Scored:
    """One row's result: `outputs` is None and `reason` says why where the reply could not be used."""

    example: Example
    score: float
    reply: str
    outputs: Mapping[str, Any] | None
    reason: str | None
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    seconds: float

    @property
    def unparsed(self) -> bool:
        return self.outputs is None


async def score_rows(
    prompt: Prompt, rows: Sequence[Example], metric: Metric, client: Client, *, role: str = "task"
) -> list[Scored]:
    """Results in the order of `rows`; all requests are handed over at once and the client's window paces them.

    The first error that concerns the run (budget, endpoint, metric) cancels the rest and is raised.
    """
    return await all_or_none(score_row(prompt, row, metric, client, role) for row in rows)


async def all_or_none(jobs: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """All results in order; the first error cancels the rest and is raised.

    A reached budget refuses all further calls by itself. Those in flight are paid for: they are waited for and stored.
    """
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        return list(await asyncio.gather(*tasks))
    except BudgetReached:
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def score_row(prompt: Prompt, example: Example, metric: Metric, client: Client, role: str = "task") -> Scored:
    """One call, read and scored."""
    try:
        completion = await client.complete(prompt.request(example.inputs), role)
    except RequestRefused as error:
        return Scored(example, 0.0, "", None, f"refused: {error}", 0, 0, 0, 0.0)
    usage = (completion.prompt_tokens, completion.cached_tokens, completion.completion_tokens, completion.seconds)
    try:
        outputs = prompt.parse(completion.text)
    except ReplyError as error:
        cut = " (cut at max_tokens)" if completion.finish_reason == "length" else ""
        return Scored(example, 0.0, completion.text, None, f"unparsed{cut}: {error}", *usage)
    try:
        score = await marked(metric, example, outputs)
    except ReplyError as error:
        return Scored(example, 0.0, completion.text, outputs, f"unjudged: {error}", *usage)
    return Scored(example, score, completion.text, outputs, None, *usage)


async def marked(metric: Metric, example: Example, outputs: Mapping[str, Any]) -> float:
    """As `apply`; a judge, which waits for a model, waits in a thread, so that the run's own requests go on."""
    if getattr(metric, "judge", False):
        return await asyncio.get_running_loop().run_in_executor(WAITING, apply, metric, example, outputs)
    return apply(metric, example, outputs)


def apply(metric: Metric, example: Example, outputs: Mapping[str, Any]) -> float:
    """The metric's value, checked to be a number in [0, 1]. Raises `UserError` naming the metric and the row.

    What a judge raises passes: `ReplyError` for a reply without a mark, else what is wrong with its endpoint.
    """
    import dspy

    name = getattr(metric, "__name__", "metric")
    typed = {key: value for key, value in example.outputs.items() if not isinstance(example.row.get(key), list)}
    gold = dspy.Example(**{**example.row, **typed}).with_inputs(*example.inputs)
    try:
        score = metric(gold, dspy.Prediction(**outputs))
    except (PromptstillError, ReplyError):
        raise
    except Exception as error:  # the user's code: whatever it raises is reported against its row
        raise UserError(
            f"The metric {name} raised {type(error).__name__} on {example.where}: {error}",
            f"The prediction was {dict(outputs)}.",
            "Mend the metric; it must take any prediction of the signature.",
        ) from error
    if isinstance(score, bool | int | float) and math.isfinite(score) and 0 <= score <= 1:
        return float(score)
    raise UserError(
        f"The metric {name} returned {score!r} on {example.where}.",
        "",
        "A metric returns a number from 0 to 1, higher is better.",
    )


def mean_score(results: Sequence[Scored]) -> float:
    """The mean score; 0.0 for no rows."""
    return sum(result.score for result in results) / len(results) if results else 0.0


def mean_tokens(results: Sequence[Scored]) -> tuple[float, float]:
    """Mean prompt and completion tokens a request, over the requests that were answered."""
    answered = [result for result in results if result.prompt_tokens]
    n = max(len(answered), 1)
    return sum(r.prompt_tokens for r in answered) / n, sum(r.completion_tokens for r in answered) / n
