"""`sqlite:///calls.db`: a call store in a file; `sqlite://` is one in memory. SQLAlchemy spells them so too."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from promptstill.endpoint.store import Completion, Total
from promptstill.errors import InfrastructureError, UserError
from promptstill.files import create_private

MEMORY = "sqlite://"
IN_MEMORY = ":memory:"  # the name that SQLite has for it
SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
  key TEXT PRIMARY KEY, role TEXT NOT NULL, body TEXT NOT NULL, completion TEXT NOT NULL,
  prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, paid_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) WITHOUT ROWID
"""


def open_sqlite(url: str) -> SqliteCalls:
    """The store at a URL: all that follows `sqlite:///` is the file's path, as it stands.

    Raises `UserError` for a URL without a path, and `InfrastructureError` where the file cannot be opened.
    """
    if url == MEMORY:
        return SqliteCalls(IN_MEMORY)
    path = url.removeprefix(f"{MEMORY}/")
    if not path or path == url:
        raise UserError(
            f"{url} names no file.", "A path follows three slashes.", "Give a URL such as sqlite:///calls.db."
        )
    return SqliteCalls(path)


class SqliteCalls:
    """A private file in WAL mode, for several processes at once, or `:memory:`. Each call is committed."""

    def __init__(self, path: str) -> None:
        self.path = path
        if path != IN_MEMORY:
            with suppress(OSError):  # SQLite says what is wrong; its -wal and -shm get this file's mode
                create_private(Path(path))
        with self._name_file_in_errors(), ExitStack() as undo:
            self.db = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
            undo.callback(self.db.close)
            self.db.execute("PRAGMA journal_mode=WAL")
            self.db.execute("PRAGMA synchronous=NORMAL")
            self.db.execute(SCHEMA)
            undo.pop_all()

    def get(self, key: str) -> Completion | None:
        with self._name_file_in_errors():
            found = self.db.execute("SELECT completion FROM calls WHERE key = ?", (key,)).fetchone()
        return Completion(**json.loads(found[0])) if found else None

    def put(self, key: str, role: str, body: dict[str, Any], completion: Completion) -> None:
        row = (key, role, json.dumps(body), json.dumps(asdict(completion)))
        tokens = (completion.prompt_tokens, completion.completion_tokens)
        with self._name_file_in_errors():
            self.db.execute(
                "INSERT OR IGNORE INTO calls (key, role, body, completion, prompt_tokens, completion_tokens)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (*row, *tokens),
            )

    def totals(self) -> dict[str, Total]:
        with self._name_file_in_errors():
            rows = self.db.execute(
                "SELECT role, COUNT(*), SUM(prompt_tokens), SUM(completion_tokens) FROM calls GROUP BY role"
            ).fetchall()
        return {role: Total(*counts) for role, *counts in rows}

    def working_seconds(self, role: str | None = None) -> float:
        ask = (
            "WITH t AS (SELECT CAST(strftime('%s', paid_at) AS INTEGER) s FROM calls"
            " WHERE role = COALESCE(?, role) ORDER BY s),"
            " g AS (SELECT s - LAG(s) OVER (ORDER BY s) gap FROM t)"
            " SELECT COALESCE(SUM(gap), 0) FROM g WHERE gap <= 60"
        )
        with self._name_file_in_errors():
            return float(self.db.execute(ask, (role,)).fetchone()[0])

    def close(self) -> None:
        self.db.close()

    @contextmanager
    def _name_file_in_errors(self) -> Iterator[None]:
        """Raise SQLite's errors as one that names the file: a full disk must stop the run, and never cost a score."""
        try:
            yield
        except sqlite3.Error as error:
            way = "Free some disk space, then go on with: optimize … --resume RUN (nothing that was stored is lost)."
            if not isinstance(error, sqlite3.OperationalError):  # the file's content, not where it lies
                way = "Restore it from a copy, or remove it: its calls are then paid for again."
            raise InfrastructureError(
                f"{self.path} could not be written or read.", f"SQLite says: {error}.", way
            ) from error
