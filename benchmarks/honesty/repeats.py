"""A prompt against itself: two prompts answer the test rows of recipes/qa.py on vLLM, each several times.

With greedy decoding a difference is the engine's; with sampling the rule may not find a gain. The scores are stored by
row, so that coverage and false gains can also be measured on rows drawn from them.
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
from benchmarks.prompts import DEMOS, open_qa
from promptstill.endpoint.allowance import Allowance
from promptstill.endpoint.client import Client, Endpoint
from promptstill.endpoint.stores import MEMORY, open_calls
from promptstill.engine.source import ModelSource, open_endpoint
from promptstill.prompt.prompt import Prompt
from promptstill.scoring.evaluate import score_rows
from promptstill.task.examples import Example
from promptstill.task.recipe import Metric

TEMPERATURE = 0.7


def repeat_test(times: int, rows: int) -> dict[str, Any]:
    """Scores by row of each repeat: {prompt: {"greedy": [[...], [...]], "sampled": [[...], ...]}}."""
    opened = open_qa()
    prompts, test = {"baseline": opened.baseline, f"{DEMOS} demos": opened.demos}, opened.splits.test[:rows]
    with (
        tempfile.TemporaryDirectory() as folder,
        open_endpoint(ModelSource(), opened.model, Path(folder, "engine.log"), say) as (endpoint, _),
    ):
        repeat = partial(repeat_prompt, rows=test, metric=opened.metric, endpoint=endpoint, times=times)
        return {name: asyncio.run(repeat(prompt)) for name, prompt in prompts.items()}


async def repeat_prompt(
    prompt: Prompt, rows: Sequence[Example], metric: Metric, endpoint: Endpoint, times: int
) -> dict[str, list[list[float]]]:
    """Twice greedy, `times` sampled."""
    sampled = prompt.model_copy(update={"decoding": prompt.decoding.model_copy(update={"temperature": TEMPERATURE})})
    return {
        "greedy": [await score_uncached(prompt, rows, metric, endpoint) for _ in range(2)],
        "sampled": [await score_uncached(sampled, rows, metric, endpoint) for _ in range(times)],
    }


async def score_uncached(prompt: Prompt, rows: Sequence[Example], metric: Metric, endpoint: Endpoint) -> list[float]:
    """The scores by row, with no reply taken from an earlier repeat."""
    with closing(open_calls(MEMORY)) as store:
        async with Client(endpoint, store, Allowance()) as client:
            return [round(one.score, 6) for one in await score_rows(prompt, rows, metric, client)]
