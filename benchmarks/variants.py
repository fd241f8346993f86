"""Student against prompt: requests a second at 1, 8 and 32 in flight, prefix caching on, through one endpoint each.

    python -m benchmarks [--fast] variants

The student is a fresh LoRA adapter of the base (values do not change the speed), asked with the bare prompt; its merged
form is served by an engine without LoRA, where the base itself stands for it: a merged model has the base's shapes.
Every reply has the same number of tokens, so that only prompt and weights differ. Rows are asked that the endpoint has
not answered before, through `distill.arms`' clock.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.cells import FAST, RESULTS, cell
from benchmarks.endpoint import say
from benchmarks.prompts import DEMOS, Qa, qa
from benchmarks.results import table
from distill.arms import clock
from optimizer.client import Endpoint
from optimizer.endpoints import Source, answering
from optimizer.engine import Adapters
from optimizer.examples import Example
from optimizer.models import Model
from optimizer.prompt import Prompt

PART = "variants"
IN_FLIGHT = (1, 8, 32)
ROWS, FAST_ROWS = {1: 24, 8: 96, 32: 192}, {1: 4, 8: 16, 32: 32}
REPLY_TOKENS = 8
STUDENT = "student"
ARMS = {
    "prompt": "base + best prompt",
    "prompt beside LoRA": "base + best prompt, `--enable-lora`",
    "student": "student (adapter) + bare prompt",
    "merged": "merged student + bare prompt",
}


def run(fast: bool) -> None:
    folder, rows = (FAST, FAST_ROWS) if fast else (RESULTS, ROWS)
    for lora in (True, False):
        key: dict[str, str | int] = {"lora": int(lora), "reply tokens": REPLY_TOKENS, "rows": sum(rows.values())}
        cell(PART, key, partial(measure, lora, rows), folder=folder)


def measure(lora: bool, rows: Mapping[int, int]) -> dict[str, Any]:
    """Requests a second of the two prompts on one engine: {arm: {in flight: requests/s}}, and their tokens."""
    opened = qa()
    arms = {"prompt beside LoRA" if lora else "prompt": opened.demos, "student" if lora else "merged": opened.bare}
    with engine(opened.model, lora=lora) as endpoint:
        return {name: asyncio.run(timed(fixed(one, STUDENT if name == "student" else None), opened, endpoint, rows))
                for name, one in arms.items()}  # fmt: skip


@contextmanager
def engine(model: Model, *, lora: bool) -> Iterator[Endpoint]:
    """vLLM with the embedded model, and with a fresh adapter beside it where that is asked for."""
    with tempfile.TemporaryDirectory() as name:
        folder, adapters = Path(name), None
        if lora:
            adapters = Adapters({STUDENT: folder / STUDENT}, fresh(model, folder / STUDENT))
        with answering(Source(), model, folder / "engine.log", say, adapters=adapters) as (endpoint, _):
            yield endpoint


def fresh(model: Model, folder: Path) -> int:
    """Write an adapter as training begins with, and return its rank."""
    from peft import get_peft_model_state_dict

    from distill.adapter import write_adapter
    from distill.hyper import Hyper
    from distill.weights import attach, best_device, load_base

    hyper = Hyper()
    adapted = attach(load_base(model, "fp32", best_device()), hyper)
    write_adapter(folder, adapted.peft_config["default"], model.name, get_peft_model_state_dict(adapted))
    return hyper.r


def fixed(prompt: Prompt, model: str | None) -> Prompt:
    """The prompt with replies of one length, asked of `model` where it is not the base."""
    update = {"max_tokens": REPLY_TOKENS, "min_tokens": REPLY_TOKENS, "stop": [], "structured": None}
    decoding = prompt.decoding.model_copy(update=update)
    return prompt.model_copy(update={"decoding": decoding} | ({"model": model} if model else {}))


async def timed(prompt: Prompt, opened: Qa, endpoint: Endpoint, rows: Mapping[int, int]) -> dict[str, Any]:
    """One prompt at each number in flight, on rows of their own."""
    asked, at = unasked(opened, sum(rows.values()) + 1), 1
    first, _ = await clock(prompt, asked[:1], endpoint, 1)
    per_s = {}
    for window, count in rows.items():
        _, seconds = await clock(prompt, asked[at : at + count], endpoint, window)
        per_s[str(window)], at = count / seconds, at + count
    return {"requests_per_s": per_s, "prompt_tokens": first[0].prompt_tokens}


def unasked(opened: Qa, count: int) -> Sequence[Example]:
    """So many rows of the recipe, none twice."""
    splits = opened.splits
    rows = [*splits.dev, *splits.test, *splits.train]
    assert len(rows) >= count
    return rows[:count]


def section(cells: list[dict[str, Any]]) -> str:
    found = {name: got for one in cells for name, got in one["result"].items()}
    rows = [
        [said, str(found[name]["prompt_tokens"]), *(f"{found[name]['requests_per_s'][str(n)]:.1f}" for n in IN_FLIGHT)]
        for name, said in ARMS.items() if name in found
    ]  # fmt: skip
    head = ["", "prompt tokens", *(f"{n} in flight" for n in IN_FLIGHT)]
    return "\n".join([
        "## Student against prompt",
        "",
        f"Requests a second by the number in flight, prefix caching on, {REPLY_TOKENS} tokens of reply each; the best",
        f"prompt stands for one with {DEMOS} demos. The adapter is fresh: its values do not change the speed.",
        "",
        *table(head, rows),
    ])  # fmt: skip
