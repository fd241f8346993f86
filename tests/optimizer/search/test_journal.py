"""The study's journal after a kill at the worst instants: while the lock was held, and in the middle of a line."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.storages.journal import JournalFileOpenLock
from optuna.trial import create_trial

from optimizer.search import journal
from optimizer.search.journal import open_journal


def values(path: Path) -> list[float | None]:
    """What the journal's study holds, after one more trial."""
    study = optuna.create_study(storage=open_journal(path), study_name="s", load_if_exists=True)
    study.add_trial(create_trial(value=float(len(study.trials))))
    return [trial.value for trial in study.trials]


@pytest.mark.parametrize("relative", [True, False])
def test_a_lock_that_a_killed_process_left_is_taken_over(
    relative: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(journal, "STALE_S", 3)
    (tmp_path / "runs").mkdir()
    path = Path("runs/study.log") if relative else tmp_path / "runs" / "study.log"
    assert values(path) == [0.0]
    before = set(path.parent.iterdir())
    JournalFileOpenLock(str(path), journal.STALE_S).acquire()
    assert set(path.parent.iterdir()) > before, "a lock that no one will release"
    assert values(path) == [0.0, 1.0]
    assert set(path.parent.iterdir()) == before


def test_half_a_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "study.log"
    values(path)
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines()[-1][:20])
    assert values(path) == [0.0, 1.0]
    assert path.read_bytes().startswith(whole)
