"""The store of calls: what a full disk and a broken file come to."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from promptstill.endpoint.store import Completion, SqliteCalls, Total
from promptstill.errors import InfrastructureError


def test_a_completion_is_kept_for_the_next_process_and_counted_by_role(tmp_path: Path) -> None:
    completion = Completion("text", "stop", 10, 4, 2, 0.1)
    with closing(SqliteCalls(tmp_path / "calls.db")) as store:
        store.put("key", "task", {}, completion)
        store.put("key", "task", {}, completion)
    with closing(SqliteCalls(tmp_path / "calls.db")) as store:
        assert store.get("key") == completion and store.get("other") is None
        assert store.totals() == {"task": Total(1, 10, 2)}


def test_a_store_that_is_no_database_is_named_and_not_kept_open(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    path.write_text("no database, and long enough for SQLite to see it " * 20)
    with pytest.raises(InfrastructureError, match=r"calls\.db could not be written or read") as caught:
        SqliteCalls(path)
    assert "remove it" in caught.value.do
    here = Path("/proc/self/fd")
    assert not here.is_dir() or path not in [one.resolve() for one in here.iterdir()]


def test_a_full_disk_stops_the_run_and_names_the_file(tmp_path: Path) -> None:
    with closing(SqliteCalls(tmp_path / "calls.db")) as store:
        store.db.execute("PRAGMA max_page_count = 4")
        with pytest.raises(InfrastructureError, match=r"calls\.db could not be written") as caught:
            store.put("key", "task", {}, Completion("x" * 50_000, "stop", 1, 0, 1, 0.1))
    assert "Free some disk space" in caught.value.do
