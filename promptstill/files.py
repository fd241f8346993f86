"""Writes files that survive a crash, whole or not at all; reads JSON; computes hashes of content.

A file gets the mode that the umask leaves it. A `private` one, which holds rows or replies, is its owner's alone.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PRIVATE, SHARED = 0o600, 0o666  # modes before the umask


def write_text(path: Path, text: str, *, private: bool = False) -> None:
    """Replace `path` with `text`, as `write_bytes` does.

    A lone surrogate, which a model's reply may have and UTF-8 cannot, is written as JSON would escape it.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"), private=private)


def write_bytes(path: Path, data: bytes, *, private: bool = False) -> None:
    """Replace `path` with `data` in one step (write, fsync, rename): readers see the old file, or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = hidden_path(path)
    as_it_is = getattr(os, "O_BINARY", 0)  # Windows would else write CR LF for LF
    handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | as_it_is, PRIVATE if private else SHARED)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def hidden_path(path: Path) -> Path:
    """A name beside `path` that nothing has yet, for what is renamed to it once it is whole."""
    return path.with_name(f".{path.name}-{secrets.token_hex(4)}")


def create_private(path: Path) -> None:
    """An empty private file, for what opens it by its name and fills it; one that exists stays as it is."""
    os.close(os.open(path, os.O_CREAT | os.O_RDONLY, PRIVATE))


def share_files(folder: Path) -> None:
    """Give the files of a new folder the mode that the umask left the folder: safetensors makes its own private."""
    for path in folder.iterdir():
        path.chmod(folder.stat().st_mode & SHARED)


def read_json(path: Path) -> Any:
    """The value of a JSON file. Raises `OSError`, or `ValueError` where it is not JSON."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, value: object, *, private: bool = False) -> None:
    """Write `value` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n", private=private)


def write_jsonl(path: Path, rows: Iterable[object], *, private: bool = False) -> None:
    """Write one JSON value per line, atomically."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), private=private)


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
