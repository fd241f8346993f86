"""Every completion ever paid for in a run, under the hash of what was sent.

The store is an interface of four verbs (`get`, `put`, `totals`, `close`), so that a shared database can stand in later.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from optimizer.errors import InfrastructureError

SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
  key TEXT PRIMARY KEY, role TEXT NOT NULL, body TEXT NOT NULL, completion TEXT NOT NULL,
  prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, paid_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) WITHOUT ROWID
"""


@dataclass(frozen=True)
class Completion:
    """A model's reply and what it cost; `seconds` is the wait of the call that was paid."""

    text: str
    finish_reason: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    seconds: float


@dataclass(frozen=True)
class Total:
    """What one role has spent."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: Total) -> Total:
        return Total(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )


class CallStore(Protocol):
    """Where completions are kept."""

    def get(self, key: str) -> Completion | None: ...

    def put(self, key: str, role: str, body: dict[str, Any], completion: Completion) -> None: ...

    def totals(self) -> dict[str, Total]: ...

    def close(self) -> None: ...


class SqliteCalls:
    """calls.db: SQLite in WAL mode, safe for several processes; a commit per call survives `kill -9`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._explained(), ExitStack() as undo:
            self.db = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
            undo.callback(self.db.close)
            self.db.execute("PRAGMA journal_mode=WAL")
            self.db.execute("PRAGMA synchronous=NORMAL")
            self.db.execute(SCHEMA)
            undo.pop_all()

    def get(self, key: str) -> Completion | None:
        with self._explained():
            found = self.db.execute("SELECT completion FROM calls WHERE key = ?", (key,)).fetchone()
        return Completion(**json.loads(found[0])) if found else None

    def put(self, key: str, role: str, body: dict[str, Any], completion: Completion) -> None:
        row = (key, role, json.dumps(body), json.dumps(asdict(completion)))
        tokens = (completion.prompt_tokens, completion.completion_tokens)
        with self._explained():
            self.db.execute(
                "INSERT OR IGNORE INTO calls (key, role, body, completion, prompt_tokens, completion_tokens)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (*row, *tokens),
            )

    def totals(self) -> dict[str, Total]:
        with self._explained():
            rows = self.db.execute(
                "SELECT role, COUNT(*), SUM(prompt_tokens), SUM(completion_tokens) FROM calls GROUP BY role"
            ).fetchall()
        return {role: Total(*counts) for role, *counts in rows}

    def working_seconds(self, role: str) -> float:
        """How long a role's calls took altogether: the time between one answer and the next, pauses left out."""
        ask = (
            "WITH t AS (SELECT CAST(strftime('%s', paid_at) AS INTEGER) s FROM calls WHERE role = ? ORDER BY s),"
            " g AS (SELECT s - LAG(s) OVER (ORDER BY s) gap FROM t)"
            " SELECT COALESCE(SUM(gap), 0) FROM g WHERE gap <= 60"
        )
        with self._explained():
            return float(self.db.execute(ask, (role,)).fetchone()[0])

    def close(self) -> None:
        self.db.close()

    def _explained(self) -> _Explained:
        return _Explained(self.path)


@dataclass(frozen=True)
class _Explained:
    """Turns SQLite's errors into one that names the file: a full disk must stop the run, never cost a score."""

    path: Path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.Error):
            way = "Free some disk space, then go on with: optimize … --resume RUN (nothing that was stored is lost)."
            if not isinstance(error, sqlite3.OperationalError):  # the file's content, not where it lies
                way = "Restore it from a copy, or remove it: its calls are then paid for again."
            raise InfrastructureError(
                f"{self.path} could not be written or read.", f"SQLite says: {error}.", way
            ) from error
