"""Optuna's journal file, opened so that no kill at any instant keeps a later process from going on."""

from __future__ import annotations

import os
from pathlib import Path

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from promptstill.files import create_private

STALE_S = 10  # a lock is held for one append; who holds it longer than this was killed


def open_journal(path: Path) -> JournalStorage:
    """The journal at `path`, new and private, or as it was left.

    Optuna's own lock is a link: by a relative path it leads nowhere, and Optuna waits for such a one for ever.
    """
    create_private(path)
    _drop_half_line(path)
    return JournalStorage(JournalFileBackend(str(path), _lock(path)))


def _lock(path: Path) -> JournalFileOpenLock:
    return JournalFileOpenLock(str(path), STALE_S)


def _drop_half_line(path: Path) -> None:
    """Drop the last line where a full disk cut it: Optuna would take what is appended to it for its rest."""
    lock = _lock(path)
    lock.acquire()
    try:
        journal = path.read_bytes()
        whole = journal.rfind(b"\n") + 1
        if whole < len(journal):
            os.truncate(path, whole)
    finally:
        lock.release()
