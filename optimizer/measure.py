"""The number: test is read here, once, for the seed prompt, DSPy's default and the winner, on the same rows."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

from optimizer.client import Client
from optimizer.errors import ReplyError
from optimizer.evaluate import Scored, all_or_none, mean_tokens, score_row, score_rows
from optimizer.examples import Example
from optimizer.layouts import Task, dspy_default
from optimizer.metrics import Metric
from optimizer.prompt import Prompt
from optimizer.stats import Estimate, Gain, estimate, gain


@dataclass(frozen=True)
class Reading:
    """One prompt on test: score with interval, the share of replies that did not parse, and cost."""

    score: Estimate
    parse_failures: float
    prompt_tokens: float
    completion_tokens: float
    seconds: float
    results: tuple[Scored, ...]

    def to_json(self) -> dict[str, Any]:
        shown = {key: value for key, value in vars(self).items() if key not in ("results", "score")}
        return {"score": asdict(self.score), **shown}


@dataclass(frozen=True)
class Verdict:
    """The three readings and the paired gains; `shipped` is the winner only where its gain is clear of zero.

    `winners` is how many winners the same test rows have measured so far, this one included.
    """

    seed: Reading
    dspy: Reading
    winner: Reading
    over_seed: Gain
    over_dspy: Gain
    dev_optimism: float
    winners: int = 1

    @property
    def shipped(self) -> str:
        return "winner" if self.over_seed.clear else "seed"


def best_of(p: float, count: int, measured: str = "winners", over: str = "seed prompt") -> str:
    """What a gain with the p-value `p` is worth if it is kept as the best of several on the same test rows."""
    return (
        f"These test rows have measured {count} {measured} so far: as the best of {count}, this gain over the {over} "
        f"has p = {min(1.0, count * p):.4f} (Bonferroni)."
    )


def unread(task: Task, seed_prompt: Prompt, rows: Sequence[Example], client: Client) -> int:
    """The calls that `read_test` takes at most: all of a winner's, and what no earlier reading stored of the others."""
    first, second = dspy_default(task), dspy_default(task, "json")

    def asks(prompt: Prompt, row: Example) -> bool:
        return client.known(prompt.request(row.inputs)) is None

    def settled(row: Example) -> bool:
        """Whether DSPy's default needs no second try."""
        reply = client.known(first.request(row.inputs))
        with contextlib.suppress(ReplyError):
            return reply is not None and bool(first.parse(reply.text))
        return False

    others = sum(asks(seed_prompt, row) + asks(first, row) + (asks(second, row) and not settled(row)) for row in rows)
    return len(rows) + others


async def read_test(
    task: Task, prompts: tuple[Prompt, Prompt], rows: Sequence[Example], metric: Metric, client: Client, *, seed: int
) -> tuple[Reading, Reading, Reading]:
    """Score seed, DSPy's default and winner on `rows`, all at once; `prompts` are the first and the last."""
    scored = (
        score_rows(prompts[0], rows, metric, client),
        score_default(task, rows, metric, client),
        score_rows(prompts[1], rows, metric, client),
    )
    bare, default, best = await all_or_none(scored)
    return reading(bare, seed), reading(default, seed), reading(best, seed)


def judge(readings: tuple[Reading, Reading, Reading], dev_score: float, seed: int) -> Verdict:
    """The verdict on three readings of the same rows: seed, DSPy's default, winner."""
    bare, default, best = readings
    scores = [[result.score for result in one.results] for one in readings]
    groups = [result.example.group for result in best.results]
    return Verdict(
        seed=bare,
        dspy=default,
        winner=best,
        over_seed=gain(scores[2], scores[0], seed, groups),
        over_dspy=gain(scores[2], scores[1], seed, groups),
        dev_optimism=dev_score - best.score.mean,
    )


async def score_default(task: Task, rows: Sequence[Example], metric: Metric, client: Client) -> list[Scored]:
    """`dspy.Predict` as it runs: its chat format first, and its JSON format where that reply does not parse."""
    first, second = dspy_default(task), dspy_default(task, "json")

    async def predict(row: Example) -> Scored:
        result = await score_row(first, row, metric, client)
        return both(result, await score_row(second, row, metric, client)) if result.unparsed else result

    return await all_or_none(predict(row) for row in rows)


def both(first: Scored, retry: Scored) -> Scored:
    """A retry's result at the price of both calls."""
    return replace(
        retry,
        prompt_tokens=first.prompt_tokens + retry.prompt_tokens,
        completion_tokens=first.completion_tokens + retry.completion_tokens,
        seconds=first.seconds + retry.seconds,
    )


def reading(results: Sequence[Scored], seed: int) -> Reading:
    """The summary of one prompt's results."""
    failures = sum(result.unparsed for result in results) / len(results)
    scores = estimate([result.score for result in results], seed, [result.example.group for result in results])
    return Reading(
        scores, failures, *mean_tokens(results), median(result.seconds for result in results), tuple(results)
    )
