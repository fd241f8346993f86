"""Knows weights by content: hashes files once, and remembers their hashes by path, size and time of change.

So a model is the same wherever it is copied to, and only the first start reads it for that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from filelock import FileLock

from promptstill.events import Say
from promptstill.files import file_digest, read_json, write_json

GIB = 1024**3
SAID_FROM = 2 * GIB  # bytes that take more than a moment
THREADS = 4


def content_digests(paths: Sequence[Path], memory: Path, say: Say) -> list[str]:
    """The sha256 of each file. memory: the file that remembers them; where it cannot be written, nothing is."""
    keys = [str(path.resolve()) for path in paths]
    states = [_state(path) for path in paths]
    known = _read(memory)
    found = {key: known[key]["sha256"] for key, state in zip(keys, states, strict=True) if _same(known.get(key), state)}
    missing = {key: state for key, state in zip(keys, states, strict=True) if key not in found}
    if missing:
        size = sum(state["size"] for state in missing.values())
        if size >= SAID_FROM:
            say(f"hashing {size / GIB:.1f} GiB of weights, this once")
        with ThreadPoolExecutor(THREADS) as pool:
            found |= zip(missing, pool.map(file_digest, map(Path, missing)), strict=True)
        _remember(memory, {key: {**state, "sha256": found[key]} for key, state in missing.items()})
    return [found[key] for key in keys]


def _state(path: Path) -> dict[str, int]:
    stat = path.stat()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def _same(entry: object, state: Mapping[str, int]) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("sha256"), str) and state.items() <= entry.items()


def _read(memory: Path) -> dict[str, Any]:
    try:
        value = read_json(memory)
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _remember(memory: Path, entries: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError):  # a cache that cannot be written costs the next start some time, no more
        memory.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(memory.with_name(f".{memory.name}.lock")):
            # Files that are gone would else stay in it for ever.
            kept = {key: entry for key, entry in _read(memory).items() if Path(key).exists()}
            write_json(memory, kept | dict(entries))
