"""What the middleware costs: the same request through a variant and straight to vLLM, in turns, in one run.

    python -m benchmarks.middleware best.json

Starts its own server. Each client sends the one and the other by turns, so that both meet the same load; replies are
one token long. Prints a table: end-to-end latency of both ways, and the time spent in the middleware itself.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from benchmarks.straight import TIMES_VARIABLE
from optimizer.machine import this_machine
from serving.cli import say
from serving.samples import sample_inputs
from serving.server import Options, plan, running
from serving.variants import Variant

ROUNDS = {1: 200, 32: 25}  # of two requests a client
PORT = 8123


def bodies(variant: Variant, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """A client's request and the engine's, for the same inputs; every number gives other inputs."""
    inputs = sample_inputs(variant.prompt, f"item {number}:")
    message = {"role": "user", "content": json.dumps(inputs)}
    asked = {"model": variant.name, "messages": [message], "max_tokens": 1}
    return asked, variant.prompt.request(inputs) | {"model": variant.served_as, "max_tokens": 1}


async def measure(url: str, variant: Variant, clients: int) -> dict[str, list[float]]:
    """Seconds of each request, by its way."""
    seconds: dict[str, list[float]] = {"straight": [], "variant": []}

    async def post(way: str, body: dict[str, Any]) -> None:
        headers = {"X-Straight": "1"} if way == "straight" else {}
        began = time.perf_counter()
        async with session.post(url, json=body, headers=headers) as reply:
            await reply.read()
            reply.raise_for_status()
        seconds[way].append(time.perf_counter() - began)

    async def client(number: int) -> None:
        for turn in range(ROUNDS[clients]):
            at = 2000 * number + 2 * turn  # two inputs: with one, the second request would find the first's cached
            pair = [("variant", bodies(variant, at)[0]), ("straight", bodies(variant, at + 1)[1])]
            for way, body in pair if turn % 2 else pair[::-1]:
                await post(way, body)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(client(number) for number in range(clients)))
    return seconds


def row(label: str, seconds: list[float]) -> str:
    median, p99 = np.percentile(seconds, [50, 99]) * 1000
    return f"{label:38} {len(seconds):6} {median:9.2f} {p99:9.2f}"


def main() -> None:
    options = Options(artifacts=(Path(sys.argv[1]),), port=PORT, vllm_args="--middleware benchmarks.straight.Straight")
    with tempfile.TemporaryDirectory() as folder:
        times = Path(folder, "times")
        os.environ[TIMES_VARIABLE] = str(times)
        prepared = plan(options, this_machine(), say)
        variant = next(iter(prepared.served.variants.values()))
        lines = [f"{'':38} {'n':>6} {'median ms':>9} {'p99 ms':>9}"]
        with running(prepared, Path(folder), say) as engine:
            for clients in ROUNDS:
                times.write_text("")
                seconds = asyncio.run(measure(f"{engine.base_url}/chat/completions", variant, clients))
                own = [float(line) for line in times.read_text().split()]
                lines += [row(f"{clients} at once, {way}", values) for way, values in seconds.items()]
                lines.append(row(f"{clients} at once, in the middleware itself", own))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
