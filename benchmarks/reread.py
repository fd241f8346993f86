"""Real A/A runs: two prompts answer the test rows of recipes/qa.py on vLLM, each again and again.

A prompt against itself: greedy, where a difference would be the engine's, and sampled, where the rule may not find a
gain. The scores are kept by row, so that coverage and false gains can also be measured on rows drawn from them.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.endpoint import say
from benchmarks.prompts import DEMOS, qa
from optimizer.budget import Budget, Meter
from optimizer.calls import SqliteCalls
from optimizer.client import Client, Endpoint
from optimizer.endpoints import Source, answering
from optimizer.evaluate import score_rows
from optimizer.examples import Example
from optimizer.metrics import Metric
from optimizer.prompt import Prompt

TEMPERATURE = 0.7


def read_again(times: int, rows: int) -> dict[str, Any]:
    """Scores by row of each reading: {prompt: {"greedy": [[...], [...]], "sampled": [[...], ...]}}."""
    opened = qa()
    prompts, test = {"seed": opened.seed, f"{DEMOS} demos": opened.demos}, opened.splits.test[:rows]
    with (
        tempfile.TemporaryDirectory() as folder,
        answering(Source(), opened.model, Path(folder, "engine.log"), say) as (endpoint, _),
    ):
        read = partial(readings, rows=test, metric=opened.metric, endpoint=endpoint, times=times)
        return {name: asyncio.run(read(one)) for name, one in prompts.items()}


async def readings(
    prompt: Prompt, rows: Sequence[Example], metric: Metric, endpoint: Endpoint, times: int
) -> dict[str, list[list[float]]]:
    """Twice greedy, `times` sampled."""
    warm = prompt.model_copy(update={"decoding": prompt.decoding.model_copy(update={"temperature": TEMPERATURE})})
    return {
        "greedy": [await reading(prompt, rows, metric, endpoint) for _ in range(2)],
        "sampled": [await reading(warm, rows, metric, endpoint) for _ in range(times)],
    }


async def reading(prompt: Prompt, rows: Sequence[Example], metric: Metric, endpoint: Endpoint) -> list[float]:
    """The scores of one reading; nothing is taken from an earlier one."""
    with closing(SqliteCalls(Path(":memory:"))) as store:
        async with Client(endpoint, store, Meter(Budget(), {})) as client:
            return [round(one.score, 6) for one in await score_rows(prompt, rows, metric, client)]
