"""Logs of JSON lines: the access log and, on request, the log of inputs. A full disk loses lines, never a request."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any


class JsonLines:
    """Appends to a file that only its owner may read; `path` None writes to standard output."""

    def __init__(self, path: str | None) -> None:
        self.path = path
        self._failed = False

    def write(self, value: Mapping[str, Any]) -> None:
        """Write one line at once. The first of several failures in a row is reported on standard error."""
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
    """Open the file for each line (about 20 µs), so that a log can be rotated by renaming it."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(handle, data)
    finally:
        os.close(handle)
