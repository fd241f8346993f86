"""JSON lines: the access log, and the inputs where they are asked for. A full disk costs lines, never a request."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any


class JsonLines:
    """Appends to a file, or writes to standard output where `path` is None. The file is its owner's alone."""

    def __init__(self, path: str | None) -> None:
        self.path = path
        self._failed = False

    def write(self, value: Mapping[str, Any]) -> None:
        """One line, at once. What cannot be written is said once, on standard error."""
        line = json.dumps(value) + "\n"
        try:
            if self.path is None:
                sys.stdout.write(line)
                sys.stdout.flush()
            else:
                append(self.path, line.encode())
            self._failed = False
        except OSError as error:
            if not self._failed:
                sys.stderr.write(f"cannot write {self.path or 'standard output'}: {error}\n")
            self._failed = True


def append(path: str, data: bytes) -> None:
    """Opened anew for each line (some 20 µs), so that a log may be rotated by renaming it."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(handle, data)
    finally:
        os.close(handle)
