"""An arm of the verdict: one prompt on one model, scored on test and timed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from optimizer.budget import Budget, Meter
from optimizer.calls import CallStore, Completion, SqliteCalls
from optimizer.client import Client, Endpoint
from optimizer.evaluate import score_rows
from optimizer.examples import Example
from optimizer.measure import Reading, reading
from optimizer.metrics import Metric
from optimizer.prompt import Prompt
from optimizer.stats import Estimate

ALONE = 16  # requests one after the other
TOGETHER = 32  # requests in flight


@dataclass(frozen=True)
class Load:
    """Median seconds of a request when it is alone, and requests a second with 32 in flight; prefix caching on."""

    latency_s: float
    requests_per_s: float


@dataclass(frozen=True)
class Arm:
    """What one prompt and model reached on test, row by row, and what a request costs.

    groups: a digest by row; rows that share one are not independent.
    replies: each row's text, and why it was of no use (None where it was).
    """

    score: Estimate
    scores: tuple[float, ...]
    groups: tuple[str, ...]
    parse_failures: float
    prompt_tokens: float
    completion_tokens: float
    load: Load
    replies: tuple[tuple[str, str | None], ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Arm:
        parts = {"score": Estimate(**value["score"]), "scores": tuple(value["scores"]), "load": Load(**value["load"])}
        # Artifacts of version 0.1 kept no groups: there each row stands alone.
        parts["groups"] = tuple(value.get("groups") or map(str, range(len(value["scores"]))))
        replies = tuple((text, reason) for text, reason in value.get("replies", ()))
        return cls(**{**value, **parts, "replies": replies})


@dataclass(frozen=True)
class Bench:
    """What every arm is measured on: `test` is read once for each, `dev` rows are asked again for the clock."""

    test: Sequence[Example]
    dev: Sequence[Example]
    metric: Metric
    store: CallStore
    seed: int

    async def measure(self, prompt: Prompt, endpoint: Endpoint) -> Arm:
        """Score `prompt` on test through `endpoint`, then time it."""
        async with Client(endpoint, self.store, Meter(Budget(), {})) as client:
            results = await score_rows(prompt, self.test, self.metric, client, role="test")
        return to_arm(reading(results, self.seed), await time_requests(prompt, self.dev, endpoint))


def to_arm(read: Reading, load: Load) -> Arm:
    scores = tuple(result.score for result in read.results)
    replies = tuple((result.reply, result.reason) for result in read.results)
    groups = tuple(result.example.group_id for result in read.results)
    return Arm(
        read.score, scores, groups, read.parse_failures, read.prompt_tokens, read.completion_tokens, load, replies
    )


async def time_requests(prompt: Prompt, rows: Sequence[Example], endpoint: Endpoint) -> Load:
    """The clock's part. Rows are asked that the endpoint has not just answered, so that what its prefix cache spares is
    what it would spare in use."""
    alone, many = rows[: min(ALONE, len(rows) // 2)], rows[min(ALONE, len(rows) // 2) :]
    answered, _ = await clock(prompt, alone, endpoint, 1)
    waits = [one.seconds for one in answered]
    _, seconds = await clock(prompt, many, endpoint, TOGETHER)
    return Load(median(waits[1:] or waits), len(many) / seconds)


async def clock(
    prompt: Prompt, rows: Sequence[Example], endpoint: Endpoint, window: int
) -> tuple[list[Completion], float]:
    """The replies to `rows` with so many in flight, and the seconds of all; nothing is read from or kept in a store."""
    with closing(SqliteCalls(Path(":memory:"))) as store:
        async with Client(replace(endpoint, window=window), store, Meter(Budget(), {})) as client:
            begun = time.perf_counter()
            answered = await asyncio.gather(*(client.complete(prompt.request(row.inputs), "clock") for row in rows))
            return answered, time.perf_counter() - begun
