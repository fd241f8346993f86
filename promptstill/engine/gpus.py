"""Reads the NVIDIA GPUs that CUDA will show a program, by `nvidia-smi`. Decides nothing, and loads no CUDA.

A GPU in MIG mode is divided into slices, each a device with memory of its own; the whole GPU is then no device. CUDA
shows a program one slice at most. `CUDA_VISIBLE_DEVICES` names devices by index or by the beginning of a UUID, and
counts up to its first invalid entry (CUDA C++ Programming Guide, environment variables).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

GIB = 1024**3
LIMIT_S = 30
QUERY = ("--query-gpu=index,uuid,memory.total,memory.free", "--format=csv,noheader,nounits")
GPU_LINE = re.compile(r"GPU (?P<index>\d+): .*\(UUID: (?P<uuid>[^)]+)\)")
# A profile is slices and memory, as in 3g.20gb, 1c.3g.20gb or 1g.10gb+me.
SLICE_LINE = re.compile(r"\s+MIG (?P<profile>\S*?(?P<gb>\d+)gb\S*)\s+Device\s+\d+: \(UUID: (?P<uuid>[^)]+)\)")
SLICE_SHARE = 0.88  # GiB a GB of a profile's name: 1g.5gb holds 4.75 GiB, 1g.18gb 16


@dataclass(frozen=True)
class Gpu:
    """One GPU, or one MIG slice of it, that the engine will see; memory in GiB."""

    memory_gib: float
    free_gib: float
    uuid: str = ""


def visible_gpus(memory_gib: float, free_gib: float) -> tuple[Gpu, ...]:
    """The GPUs that a program started here will see, in its order; none where there is no driver.

    memory_gib, free_gib: this machine's own memory, which is the GPU's where `nvidia-smi` knows no other: chips that
    share it with the processor (GB10, Jetson) report `[N/A]`.
    """
    if not shutil.which("nvidia-smi"):
        return ()
    gpus = read_table(ask(*QUERY), Gpu(memory_gib, free_gib))
    slices = read_slices(ask("-L"))
    return choose(gpus, slices, os.environ.get("CUDA_VISIBLE_DEVICES"))


def ask(*arguments: str) -> str:
    """What `nvidia-smi` prints; nothing where it fails, as it does without a driver."""
    try:
        done = subprocess.run(["nvidia-smi", *arguments], capture_output=True, text=True, timeout=LIMIT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


def read_table(text: str, shared: Gpu) -> list[Gpu]:
    """The GPUs of the lines `index, uuid, total MiB, free MiB`. shared: the memory of one that reports none.

    A line of another kind is of a GPU that has failed, which CUDA does not show either.
    """
    found = []
    for line in text.splitlines():
        index, *values = (part.strip() for part in line.split(","))
        if index.isdigit() and len(values) == 3:
            uuid, *sizes = values
            total, free = (int(size) / 1024 if size.isdigit() else None for size in sizes)
            # Where only what is free is not told (no permission), all of it counts as free.
            known = (total, total if free is None else free) if total else (shared.memory_gib, shared.free_gib)
            found.append(Gpu(*known, uuid))
    return found


def read_slices(text: str) -> dict[str, list[Gpu]]:
    """The MIG slices in the output of `nvidia-smi -L`, by the UUID of their GPU. What is free in one is not told."""
    slices: dict[str, list[Gpu]] = {}
    parent = ""
    for line in text.splitlines():
        if gpu := GPU_LINE.match(line):
            parent = gpu["uuid"]
        elif part := SLICE_LINE.match(line):
            memory = int(part["gb"]) * SLICE_SHARE
            slices.setdefault(parent, []).append(Gpu(memory, memory, part["uuid"]))
    return slices


def choose(gpus: Sequence[Gpu], slices: dict[str, list[Gpu]], visible: str | None) -> tuple[Gpu, ...]:
    """The devices that CUDA shows. visible: CUDA_VISIBLE_DEVICES, None where it is not set."""
    # Without a choice, a slice is shown alone, where every GPU is divided; else the whole GPUs are.
    whole = [gpu for gpu in gpus if gpu.uuid not in slices]
    parts = [part for one in slices.values() for part in one]
    if visible is None:
        return tuple(whole or parts[:1])
    chosen: list[Gpu] = []
    for entry in map(str.strip, visible.split(",")):
        device = _find(entry, gpus, slices, parts)
        if device is None or device in chosen:
            break
        chosen.append(device)
    only = next((one for one in chosen if one in parts), None)
    return (only,) if only else tuple(chosen)


def _find(entry: str, gpus: Sequence[Gpu], slices: dict[str, list[Gpu]], parts: Sequence[Gpu]) -> Gpu | None:
    """The device that an entry of CUDA_VISIBLE_DEVICES names; None for an invalid one."""
    if entry.isdigit():
        if int(entry) >= len(gpus):
            return None
        gpu = gpus[int(entry)]
        return slices[gpu.uuid][0] if gpu.uuid in slices else gpu
    if entry.startswith("MIG-"):
        return next((part for part in parts if part.uuid == entry), None)
    named = [gpu for gpu in gpus if entry.startswith("GPU-") and gpu.uuid.startswith(entry)]
    if len(named) != 1:
        return None
    return slices[named[0].uuid][0] if named[0].uuid in slices else named[0]
