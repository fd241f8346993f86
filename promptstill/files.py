"""Writes files that survive a crash, whole or not at all; reads JSON; computes hashes of content."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str) -> None:
    """Replace `path` with `text`, as `write_bytes` does.

    A lone surrogate, which a model's reply may have and UTF-8 cannot, is written as JSON would escape it.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` with `data` in one step (write, fsync, rename): readers see the old file, or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_json(path: Path) -> Any:
    """The value of a JSON file. Raises `OSError`, or `ValueError` where it is not JSON."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_jsonl(path: Path, rows: Iterable[object]) -> None:
    """Write one JSON value per line, atomically."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def similar_file(path: Path, pattern: str) -> Path | None:
    """The file beside `path` that fits `pattern` and has the most similar name; None where no name is similar."""
    names = difflib.get_close_matches(path.name, [file.name for file in path.parent.glob(pattern)], 1)
    return path.parent / names[0] if names else None


def canonical_json(value: object) -> str:
    """JSON with sorted keys, without spaces, in ASCII: equal values give the same text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def digest(value: Any) -> str:
    """sha256 (hex) of bytes, or of the canonical JSON of another value."""
    data = value if isinstance(value, bytes) else canonical_json(value).encode()
    return hashlib.sha256(data).hexdigest()


def file_digest(path: Path) -> str:
    """sha256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
