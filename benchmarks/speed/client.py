"""How much of vLLM's own speed is left through HTTP and our client, which process takes the rest, and how often greedy
replies differ between batch sizes.

    python -m benchmarks.speed.client [--requests 500] [--rounds 2]

The same chat requests (questions of recipes/data/qa.jsonl) go through vLLM's offline `LLM.chat`, and through
`promptstill.endpoint.client` to a vLLM server with the same arguments, on the same machine. Each round has other texts,
so that neither side profits from a cached prompt.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from benchmarks.cells import FAST, RESULTS, cell
from benchmarks.endpoint import say
from benchmarks.results import table
from promptstill.endpoint.allowance import Allowance
from promptstill.endpoint.client import Client
from promptstill.endpoint.endpoint import Endpoint
from promptstill.endpoint.store import Completion
from promptstill.endpoint.stores import file_url, open_calls
from promptstill.engine import models, vllm
from promptstill.engine.machine import this_machine

DATA = Path(__file__).parents[2] / "recipes" / "data" / "qa.jsonl"
REPLY_TOKENS = 24
OFFLINE = """
import json, sys, time
from vllm import LLM, SamplingParams
arguments, rounds, tokens = json.load(sys.stdin)
llm = LLM(**arguments)
greedy = SamplingParams(temperature=0.0, max_tokens=tokens)
llm.chat(rounds[0][:8], greedy, use_tqdm=False)
for messages in rounds:
    start = time.perf_counter()
    replies = llm.chat(messages, greedy, use_tqdm=False)
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "texts": [reply.outputs[0].text for reply in replies]}), flush=True)
"""


@dataclass(frozen=True)
class Round:
    """One pass over the requests: wall seconds, replies, and the CPU seconds of each process."""

    seconds: float
    texts: list[str]
    cpu: dict[str, float]


def chats(requests: int, rounds: int) -> list[list[list[dict[str, str]]]]:
    """Messages by round and request."""
    rows = [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()][:requests]
    ask = "Answer the question using only the context."
    return [
        [[{"role": "user", "content": f"{number}. {ask}\n{row['context']}\n{row['question']}"}] for row in rows]
        for number in range(1, rounds + 1)
    ]


def offline(model: models.Model, rounds: list[Any]) -> list[Round]:
    """All rounds by `LLM.chat`, in a process of its own with the server's environment."""
    argv, environment = vllm.server_command(model, 0, this_machine())
    arguments = {"model": model.path, "max_model_len": int(value(argv, "--max-model-len")), "generation_config": "vllm"}
    arguments |= {"dtype": value(argv, "--dtype"), "max_num_seqs": int(value(argv, "--max-num-seqs"))}
    arguments |= {"enforce_eager": "--enforce-eager" in argv, "enable_prefix_caching": True}
    if "--block-size" in argv:
        arguments["block_size"] = int(value(argv, "--block-size"))
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE],
        input=json.dumps([arguments, rounds, REPLY_TOKENS]),
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"seconds"')]
    return [Round(**json.loads(line), cpu={}) for line in lines]


def value(argv: list[str], option: str) -> str:
    """The value of an option in an argv."""
    return argv[argv.index(option) + 1]


async def through_client(server: vllm.Engine, messages: list[Any], folder: Path, window: int) -> Round:
    """One round through our client."""
    assert server.process is not None
    path = Path(tempfile.mkdtemp(dir=folder)) / "calls.db"
    decoding = {"model": server.model, "temperature": 0.0, "max_tokens": REPLY_TOKENS}
    before, start = cpu_seconds(server.process.pid), time.perf_counter()
    with closing(open_calls(file_url(path))) as store:
        async with Client(Endpoint(server.base_url, "bench", window=window), store, Allowance()) as client:
            calls = (client.complete({**decoding, "messages": one}, "task") for one in messages)
            replies: list[Completion] = await asyncio.gather(*calls)
        seconds, after = time.perf_counter() - start, cpu_seconds(server.process.pid)
    return Round(seconds, [reply.text for reply in replies], {name: after[name] - before[name] for name in after})


def cpu_seconds(guard: int) -> dict[str, float]:
    """CPU seconds so far of this process, vLLM's API server, and its engine (scheduler and worker)."""
    spent = {"client": sum(psutil.Process().cpu_times()[:2]), "API server": 0.0, "engine": 0.0}
    for process in psutil.Process(guard).children(recursive=True):
        title = " ".join([process.name(), *process.cmdline()])
        spent["engine" if "VLLM::" in title else "API server"] += sum(process.cpu_times()[:2])
    return spent


def count_differences(left: Sequence[str], right: Sequence[str]) -> str:
    count = sum(a != b for a, b in zip(left, right, strict=True))
    return f"{count} of {len(left)} ({count / len(left):.1%})"


def run(fast: bool) -> None:
    requests, rounds = (72, 1) if fast else (500, 2)
    make = partial(measure, requests, rounds)
    cell("client", {"requests": requests, "rounds": rounds}, make, folder=FAST if fast else RESULTS)


def measure(requests: int, rounds: int) -> dict[str, Any]:
    """Seconds and CPU of each round, offline and through the client, and how many greedy replies differ."""
    model = models.find_model(models.EMBEDDED, say)
    messages = chats(requests, rounds)
    alone = offline(model, messages)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with vllm.running_engine(model, folder / "engine.log", say) as server:
            asyncio.run(through_client(server, messages[0][:8], folder, 64))
            ours = [asyncio.run(through_client(server, one, folder, 64)) for one in messages]
            narrow = asyncio.run(through_client(server, messages[0], folder, 8))
            again = asyncio.run(through_client(server, messages[0], folder, 64))
    first = ours[0].texts
    return {
        "requests": len(first),
        "offline_s": [one.seconds for one in alone],
        "client_s": [one.seconds for one in ours],
        "cpu_s": [one.cpu for one in ours],
        "differing": {
            "client and `LLM.chat`": count_differences(first, alone[0].texts),
            "64 and 8 in flight": count_differences(first, narrow.texts),
            "64 in flight twice": count_differences(first, again.texts),
        },
    }


def section(cells: list[dict[str, Any]]) -> str:
    got = cells[-1]["result"]
    n, rows = got["requests"], []
    for number, (alone, ours, cpu) in enumerate(zip(got["offline_s"], got["client_s"], got["cpu_s"], strict=True), 1):
        total = sum(cpu.values())
        shares = ", ".join(f"{who} {spent / total:.0%}" for who, spent in cpu.items())
        rows.append([str(number), f"{n / alone:.1f}", f"{n / ours:.1f}", f"{alone / ours:.0%}", shares])
    differ = [f"- {which}: {count}" for which, count in got["differing"].items()]
    return "\n".join([
        "## Client overhead",
        "",
        f"{n} chats through our client and a vLLM server, and by vLLM's offline `LLM.chat`; requests a second.",
        "",
        *table(["round", "`LLM.chat`", "client, 64 in flight", "of `LLM.chat`", "CPU through the client"], rows),
        "",
        "Greedy replies that differ:",
        "",
        *differ,
    ])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    print(section([{"result": measure(options.requests, options.rounds)}]))


if __name__ == "__main__":
    main()
