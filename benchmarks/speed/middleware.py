"""What the middleware costs: the same request through a variant and straight to vLLM, in turns, in one run.

    python -m benchmarks.speed.middleware [best.json]

Starts its own server. Each client takes both ways in turn, so that both have the same load; replies are one token long.
Prints a table: end-to-end latency of both ways, and the time spent in the middleware itself. Without a best.json it
serves a prompt of recipes/qa.py with demos.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from rich.console import Console

from benchmarks.cells import FAST, RESULTS, cell
from benchmarks.prompts import write_best
from benchmarks.results import table
from benchmarks.speed.straight import TIMES_VARIABLE
from promptstill.command.listeners import LineListener
from serving import ServeSettings, serve
from serving.samples import sample_inputs
from serving.variants import Variant

ROUNDS = {1: 200, 32: 25}  # of two requests a client
PORT = 8123
STRAIGHT = "benchmarks.speed.straight.Straight"


def bodies(variant: Variant, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """A client's request and vLLM's own, for the same inputs; every number gives other inputs."""
    inputs = sample_inputs(variant.prompt, f"item {number}:")
    message = {"role": "user", "content": json.dumps(inputs)}
    request = {"model": variant.name, "messages": [message], "max_tokens": 1}
    return request, variant.prompt.request(inputs) | {"model": variant.engine_name, "max_tokens": 1}


async def measure(url: str, variant: Variant, clients: int, turns: int) -> dict[str, list[float]]:
    """Seconds of each request, by its way."""
    seconds: dict[str, list[float]] = {"straight": [], "variant": []}

    async def post(way: str, body: dict[str, Any]) -> None:
        headers = {"X-Straight": "1"} if way == "straight" else {}
        start = time.perf_counter()
        async with session.post(url, json=body, headers=headers) as reply:
            await reply.read()
            reply.raise_for_status()
        seconds[way].append(time.perf_counter() - start)

    async def client(number: int) -> None:
        for turn in range(turns):
            at = 2000 * number + 2 * turn  # two inputs, since the second of two equal requests would be cached
            pair = [("variant", bodies(variant, at)[0]), ("straight", bodies(variant, at + 1)[1])]
            for way, body in pair if turn % 2 else pair[::-1]:
                await post(way, body)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(client(number) for number in range(clients)))
    return seconds


def run(fast: bool) -> None:
    turns = 5 if fast else 1
    rounds = {clients: rounds // turns for clients, rounds in ROUNDS.items()}
    key = {f"rounds of {clients}": times for clients, times in rounds.items()}
    cell("middleware", key, partial(compare_qa, rounds), folder=FAST if fast else RESULTS)


def compare_qa(rounds: Mapping[int, int]) -> dict[str, Any]:
    """With a prompt of recipes/qa.py that has demos, as a search finds them."""
    with tempfile.TemporaryDirectory() as folder:
        return compare(write_best(Path(folder, "best.json")), rounds)


def compare(best: Path, rounds: Mapping[int, int]) -> dict[str, Any]:
    """The latency of requests, by how many clients there were and which way they took."""
    settings = ServeSettings(artifacts=(best,), port=PORT, vllm_args=f"--middleware {STRAIGHT}")
    with tempfile.TemporaryDirectory() as folder:
        times = Path(folder, "times")
        os.environ[TIMES_VARIABLE] = str(times)
        results = []
        with serve(settings, runs=folder, listener=LineListener(Console(stderr=True))) as server:
            url, variant = f"{server.base_url}/chat/completions", next(iter(server.plan.served.variants.values()))
            for clients, turns in rounds.items():
                times.write_text("")
                seconds = asyncio.run(measure(url, variant, clients, turns))
                own = [float(line) for line in times.read_text().split()]
                results.append({"clients": clients, **{way: figures(values) for way, values in seconds.items()},
                              "own": figures(own)})  # fmt: skip
    return {"at_once": results}


def figures(seconds: list[float]) -> dict[str, float]:
    median, p99 = np.percentile(seconds, [50, 99]) * 1000
    return {"n": len(seconds), "median_ms": float(median), "p99_ms": float(p99)}


WAYS = {"variant": "through a variant", "straight": "straight to vLLM", "own": "in the middleware itself"}


def section(cells: list[dict[str, Any]]) -> str:
    rows = [
        [f"{one['clients']} at once, {name}", str(one[way]["n"]), f"{one[way]['median_ms']:.2f}",
         f"{one[way]['p99_ms']:.2f}"]
        for one in cells[-1]["result"]["at_once"] for way, name in WAYS.items()
    ]  # fmt: skip
    return "\n".join([
        "## Middleware overhead",
        "",
        "The same requests, one token of reply each, through a variant and straight to vLLM by turns.",
        "",
        *table(["", "requests", "median ms", "p99 ms"], rows),
    ])  # fmt: skip


def main() -> None:
    result = compare(Path(sys.argv[1]), ROUNDS) if len(sys.argv) > 1 else compare_qa(ROUNDS)
    print(section([{"result": result}]))


if __name__ == "__main__":
    main()
