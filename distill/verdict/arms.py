"""An arm of the verdict: one prompt on one model, scored on test and timed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

from distill.budget import HERE, UncountedCalls
from distill.folder import TIMING
from promptstill.endpoint.allowance import Allowance
from promptstill.endpoint.client import Client
from promptstill.endpoint.endpoint import Endpoint
from promptstill.endpoint.store import CallStore, Completion
from promptstill.endpoint.stores import MEMORY, open_calls
from promptstill.errors import InfrastructureError
from promptstill.prompt.prompt import Prompt
from promptstill.scoring.answer import answer
from promptstill.scoring.compare import Marks
from promptstill.scoring.evaluate import score_rows
from promptstill.scoring.test_report import TestReport, summarize_results
from promptstill.stats import Estimate
from promptstill.task.examples import Example
from promptstill.task.metrics.whole import Labels
from promptstill.task.recipe import Metric

SINGLE_REQUESTS = 16  # timed one after the other
IN_FLIGHT = 32
ReplyFacts = tuple[str, str | None, bool, str]


@dataclass(frozen=True)
class Speed:
    """Median seconds of a single request, and requests per second with 32 in flight. Prefix caching is on."""

    latency_s: float
    requests_per_s: float


@dataclass(frozen=True)
class Arm:
    """How one prompt and model scored on test, row by row, and what a request costs.

    groups: a digest for each row; rows that share one are not independent.
    replies: each row's text, why it could not be used (None where it could), whether it was cut at max_tokens, and the
    metric's own words.
    cut: the share of replies that were. labels: of each row, for a metric of a whole split; else empty.
    """

    score: Estimate
    scores: tuple[float, ...]
    groups: tuple[str, ...]
    parse_failures: float
    prompt_tokens: float
    completion_tokens: float
    speed: Speed
    replies: tuple[ReplyFacts, ...] = ()
    cut: float = 0.0
    labels: tuple[Labels, ...] = ()

    @property
    def marks(self) -> Marks:
        return Marks(self.scores, self.groups, self.labels or None)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Arm:
        parts = {
            "score": Estimate(**value["score"]),
            "scores": tuple(value["scores"]),
            "speed": Speed(**value["speed"]),
        }
        replies = tuple(tuple(facts) for facts in value.get("replies", ()))
        labels = tuple(Labels(**one) for one in value.get("labels", ()))
        return cls(**{**value, **parts, "groups": tuple(value["groups"]), "replies": replies, "labels": labels})


@dataclass(frozen=True)
class ArmBench:
    """What every arm is measured with: it is scored once on `test`, and timed on `dev`.

    allowance: counts the calls of the scoring, a judge's too. Those that no limit counts have a role of their own.
    """

    test: Sequence[Example]
    dev: Sequence[Example]
    metric: Metric
    store: CallStore
    allowance: Allowance
    seed: int

    async def measure(self, prompt: Prompt, endpoint: Endpoint) -> Arm:
        """Score `prompt` on test through `endpoint`, then time it."""
        role = HERE if isinstance(self.allowance, UncountedCalls) else "test"
        async with Client(endpoint, self.store, self.allowance) as client:
            results = await score_rows(prompt, self.test, self.metric, client, role=role)
        speed = await time_requests(prompt, self.dev, endpoint, self.allowance)
        return to_arm(summarize_results(results, self.seed), speed)


def to_arm(report: TestReport, speed: Speed) -> Arm:
    scores = tuple(result.score for result in report.results)
    replies = tuple((result.reply, result.reason, result.cut, result.feedback) for result in report.results)
    groups = tuple(result.example.group_id for result in report.results)
    tokens = report.prompt_tokens, report.completion_tokens
    labels = tuple(Marks.of(report.results).labels or ())
    return Arm(report.score, scores, groups, report.parse_failures, *tokens, speed, replies, report.cut, labels)


async def time_requests(prompt: Prompt, rows: Sequence[Example], endpoint: Endpoint, allowance: Allowance) -> Speed:
    """Time the endpoint on rows that it has not just answered, so that its prefix cache saves what it would in use.

    allowance: counts the calls.
    """
    singles = min(SINGLE_REQUESTS, len(rows) // 2)
    replies, _ = await time_replies(prompt, rows[:singles], endpoint, 1, allowance)
    waits = [one.seconds for one in replies]
    others, seconds = await time_replies(prompt, rows[singles:], endpoint, IN_FLIGHT, allowance)
    return Speed(median(waits[1:] or waits), len(others) / seconds)


async def time_replies(
    prompt: Prompt, rows: Sequence[Example], endpoint: Endpoint, window: int, allowance: Allowance
) -> tuple[list[Completion], float]:
    """The replies to `rows` with `window` requests in flight, and the seconds for all. No stored reply is used.

    A row that the endpoint refuses has none. Raises `InfrastructureError` where it refuses them all.
    """
    with closing(open_calls(MEMORY)) as store:
        async with Client(replace(endpoint, window=window, first_window=window), store, allowance) as client:
            started = time.perf_counter()
            answers = await asyncio.gather(*(answer(prompt, row.inputs, client, TIMING) for row in rows))
            seconds = time.perf_counter() - started
    replies = [one.completion for one in answers if one.problem != "refused"]
    if not replies:
        why = answers[0].detail if answers else "There are no rows to ask."
        raise InfrastructureError("The endpoint answers no request to be timed.", why, "Give shorter dev rows.")
    return replies, seconds
