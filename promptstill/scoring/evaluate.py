"""Scores a prompt on rows. A reply that cannot be used scores zero, with its reason; a failing metric stops the run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean as mean
from typing import Any, TypeVar

from promptstill.endpoint.allowance import LimitReached
from promptstill.endpoint.client import Client
from promptstill.errors import ReplyError
from promptstill.prompt.prompt import Prompt
from promptstill.scoring.answer import ModelAnswer, Part, answer
from promptstill.task.examples import Example
from promptstill.task.judge import judge_paid_by
from promptstill.task.metrics import MetricResult, apply_metric, is_judge
from promptstill.task.metrics.apply import find_labels
from promptstill.task.metrics.whole import Labels
from promptstill.task.recipe import Metric

Result = TypeVar("Result")


UNJUDGED = "unjudged"  # how the reason begins where a judge gave no mark


@dataclass(frozen=True)
class ScoredRow:
    """A prompt's result on one row.

    outputs: None where the reply could not be parsed. reason: why the row scored zero without a metric, else None.
    seconds: from the request to its reply. cut: whether the reply ended at max_tokens; where it parses, it is scored.
    part: as in `ModelAnswer`. feedback: the metric's own words, empty where it has none. labels:
    what a metric of a whole split counts by, None for any other.
    """

    example: Example
    score: float
    reply: str
    outputs: Mapping[str, Any] | None
    reason: str | None
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    seconds: float
    cut: bool = False
    part: Part | None = None
    feedback: str = ""
    labels: Labels | None = None

    @property
    def unparsed(self) -> bool:
        return self.outputs is None

    @property
    def unjudged(self) -> bool:
        return (self.reason or "").startswith(f"{UNJUDGED}:")

    @property
    def answered(self) -> Mapping[str, Any]:
        """What the prompt itself answered; of a program with the inputs that the prompt had. Empty without one."""
        if self.example.program is None:
            return self.outputs or {}
        return self.part.demo if self.part else {}


async def score_rows(
    prompt: Prompt, rows: Sequence[Example], metric: Metric, client: Client, *, role: str = "task"
) -> list[ScoredRow]:
    """The results in the order of `rows`. All rows are asked at once; the client limits the requests in flight.

    The first error that concerns the whole run (limit, endpoint, metric) cancels the rest and is raised.
    """
    return await gather_or_cancel(score_row(prompt, row, metric, client, role) for row in rows)


async def gather_or_cancel(jobs: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """All results in order; the first error cancels the rest and is raised.

    After `LimitReached` nothing is cancelled: further calls are refused anyway, and those in flight have cost already:
    they are waited for and stored.
    """
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        return list(await asyncio.gather(*tasks))
    except LimitReached:
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def score_row(prompt: Prompt, example: Example, metric: Metric, client: Client, role: str = "task") -> ScoredRow:
    """Ask for one row and score the answer; where the client has several draws, as often, and the mean is the score."""
    return await score_draws(lambda sample: score_draw(prompt, example, metric, client, role, sample), client)


async def score_draw(
    prompt: Prompt, example: Example, metric: Metric, client: Client, role: str, sample: int
) -> ScoredRow:
    """The result of one of a row's draws, the `sample`-th from 0."""
    return await score_answer(example, await answer_row(prompt, example, client, role, sample), metric, client)


async def score_draws(draw: Callable[[int], Coroutine[Any, Any, ScoredRow]], client: Client) -> ScoredRow:
    """A row's result from its draws: the mean of scores and cost, and the reply of the first that parses.

    The row is unparsed where none of them parses. A draw that was refused has no tokens.
    """
    draws = await gather_or_cancel(map(draw, range(client.draws)))
    if len(draws) == 1:
        return draws[0]
    shown = next((one for one in draws if not one.unparsed), draws[0])
    answered = [one for one in draws if one.prompt_tokens] or draws
    return replace(
        shown,
        score=mean(one.score for one in draws),
        prompt_tokens=round(mean(one.prompt_tokens for one in answered)),
        completion_tokens=round(mean(one.completion_tokens for one in answered)),
        seconds=mean(one.seconds for one in answered),
    )


async def score_answer(example: Example, given: ModelAnswer, metric: Metric, client: Client) -> ScoredRow:
    """The result of a row whose answer is there."""
    whole = example.whole or example
    zero = MetricResult(0.0, labels=find_labels(metric, whole, None))
    if given.outputs is None:
        return to_scored_row(example, given, zero, given.reason)
    try:
        result = await score_async(metric, whole, given.outputs, client)
    except ReplyError as error:
        return to_scored_row(example, given, zero, f"{UNJUDGED}: {error}")
    return to_scored_row(example, given, result)


async def answer_row(prompt: Prompt, example: Example, client: Client, role: str, sample: int) -> ModelAnswer:
    """The prompt's answer, or that of the program in which it is one predictor's, which is asked once."""
    if example.program is None:
        return await answer(prompt, example.inputs, client, role, sample)
    from promptstill.scoring.program import answer_by_program

    return await answer_by_program(example.program, prompt, example.whole or example, client, role)


def to_scored_row(example: Example, given: ModelAnswer, result: MetricResult, reason: str | None = None) -> ScoredRow:
    """The result of a row from its answer and what the metric says of it."""
    reply = given.completion
    usage = (reply.prompt_tokens, reply.cached_tokens, reply.completion_tokens, reply.seconds)
    return ScoredRow(
        example,
        result.score,
        reply.text,
        given.outputs,
        reason,
        *usage,
        given.cut,
        given.part,
        result.feedback,
        result.labels,
    )


async def score_async(metric: Metric, example: Example, outputs: Mapping[str, Any], client: Client) -> MetricResult:
    """As `apply_metric`; what a judge costs counts in the client's allowance.

    A judge waits for a model: it is called in one of the client's threads, so that the run's own requests go on.
    """

    def score() -> MetricResult:
        with judge_paid_by(client.allowance):
            return apply_metric(metric, example, outputs)

    if is_judge(metric):
        return await asyncio.get_running_loop().run_in_executor(client.threads, score)
    return score()


def best_answers(results: Sequence[ScoredRow]) -> list[ScoredRow]:
    """The results that score in full. Where none does, as with many metrics, the best quarter of those above zero."""
    answered = [result for result in results if result.score > 0 and result.answered]
    ranked = sorted(answered, key=lambda result: -result.score)
    return [result for result in answered if result.score >= 1.0] or ranked[: -(-len(ranked) // 4)]


def mean_score(results: Sequence[ScoredRow]) -> float:
    """The mean score; 0.0 for no rows."""
    return sum(result.score for result in results) / len(results) if results else 0.0


def mean_tokens(results: Sequence[ScoredRow]) -> tuple[float, float]:
    """Mean prompt and completion tokens a request, of the requests that were answered."""
    answered = [result for result in results if result.prompt_tokens]
    n = max(len(answered), 1)
    return sum(r.prompt_tokens for r in answered) / n, sum(r.completion_tokens for r in answered) / n
