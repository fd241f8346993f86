"""Student against prompt: requests a second at 1, 8 and 32 in flight, prefix caching on, through one endpoint each.

    python -m benchmarks [--fast] variants

The student is a new LoRA adapter of the base (values do not change the speed), asked with the bare prompt. Its merged
form is measured with the base itself on an engine without LoRA: a merged model has the base's shapes.
Every reply has the same number of tokens, so that only prompt and weights differ. No row is asked twice of an endpoint,
and time is measured as `distill.verdict.arms` does it.
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
from benchmarks.prompts import DEMOS, QaPrompts, open_qa
from benchmarks.results import table
from distill.verdict.arms import time_replies
from promptstill.endpoint.allowance import Allowance
from promptstill.endpoint.endpoint import Endpoint
from promptstill.engine.models import Model
from promptstill.engine.source import ModelSource, open_endpoint
from promptstill.engine.vllm import Adapters
from promptstill.prompt.prompt import Prompt
from promptstill.task.examples import Example

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
    opened = open_qa()
    arms = {"prompt beside LoRA" if lora else "prompt": opened.demos, "student" if lora else "merged": opened.bare}
    with engine(opened.model, lora=lora) as endpoint:
        prompts = {arm: with_fixed_length(one, STUDENT if arm == "student" else None) for arm, one in arms.items()}
        return {arm: asyncio.run(time_prompt(prompt, opened, endpoint, rows)) for arm, prompt in prompts.items()}


@contextmanager
def engine(model: Model, *, lora: bool) -> Iterator[Endpoint]:
    """vLLM with the embedded model, and with `lora` also a new adapter."""
    with tempfile.TemporaryDirectory() as name:
        folder, adapters = Path(name), None
        if lora:
            adapters = Adapters({STUDENT: folder / STUDENT}, write_new_adapter(model, folder / STUDENT))
        with open_endpoint(ModelSource(), model, folder / "engine.log", say, adapters=adapters) as (endpoint, _):
            yield endpoint


def write_new_adapter(model: Model, folder: Path) -> int:
    """Write an adapter as it is when training begins, and return its rank."""
    from peft import get_peft_model_state_dict

    from distill.train.adapter import write_adapter
    from distill.train.hyper import HyperParameters
    from distill.train.weights import attach, best_device, load_base

    hyper = HyperParameters()
    adapted = attach(load_base(model, "fp32", best_device()), hyper)
    write_adapter(folder, adapted.peft_config["default"], model.name, get_peft_model_state_dict(adapted))
    return hyper.r


def with_fixed_length(prompt: Prompt, model: str | None) -> Prompt:
    """The prompt with replies of one length, asked of `model` where it is not the base."""
    update = {"max_tokens": REPLY_TOKENS, "min_tokens": REPLY_TOKENS, "stop": [], "structured": None}
    decoding = prompt.decoding.model_copy(update=update)
    return prompt.model_copy(update={"decoding": decoding} | ({"model": model} if model else {}))


async def time_prompt(prompt: Prompt, opened: QaPrompts, endpoint: Endpoint, rows: Mapping[int, int]) -> dict[str, Any]:
    """One prompt at each number in flight, each with rows of its own."""
    examples, at = take_rows(opened, sum(rows.values()) + 1), 1
    first, _ = await time_replies(prompt, examples[:1], endpoint, 1, Allowance())
    per_s = {}
    for window, count in rows.items():
        _, seconds = await time_replies(prompt, examples[at : at + count], endpoint, window, Allowance())
        per_s[str(window)], at = count / seconds, at + count
    return {"requests_per_s": per_s, "prompt_tokens": first[0].prompt_tokens}


def take_rows(opened: QaPrompts, count: int) -> Sequence[Example]:
    """`count` rows of the recipe, none twice."""
    splits = opened.splits
    rows = [*splits.dev, *splits.test, *splits.train]
    assert len(rows) >= count
    return rows[:count]


def section(cells: list[dict[str, Any]]) -> str:
    found = {name: got for one in cells for name, got in one["result"].items()}
    rows = [
        [title, str(found[name]["prompt_tokens"]), *(f"{found[name]['requests_per_s'][str(n)]:.1f}" for n in IN_FLIGHT)]
        for name, title in ARMS.items() if name in found
    ]  # fmt: skip
    head = ["", "prompt tokens", *(f"{n} in flight" for n in IN_FLIGHT)]
    return "\n".join([
        "## Student against prompt",
        "",
        f"Requests a second by the number in flight, prefix caching on, {REPLY_TOKENS} tokens of reply each; the best",
        f"prompt here is one with {DEMOS} demos. The adapter is new: its values do not change the speed.",
        "",
        *table(head, rows),
    ])  # fmt: skip
