"""SQLite as a call store: its URLs, what a full disk and a broken file come to, and how pauses are left out."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from promptstill.endpoint.store import Completion
from promptstill.endpoint.stores import MEMORY, file_url, open_calls
from promptstill.endpoint.stores.sqlite import SqliteCalls
from promptstill.errors import InfrastructureError, UserError

COMPLETION = Completion("text", "stop", 10, 4, 2, 0.1)


@pytest.mark.parametrize("name", ["calls.db", "a b?mode=ro.db", "50%25.db", "#1.db"])
def test_three_slashes_and_a_path_name_a_file_whatever_its_characters(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for url in (file_url(tmp_path / name), f"sqlite:///{name}"):
        with closing(open_calls(url)) as store:
            store.put("key", "task", {}, COMPLETION)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_new_file_and_those_beside_it_are_private(tmp_path: Path, umask: int) -> None:
    with closing(open_calls(file_url(tmp_path / "calls.db"))) as store:
        store.put("key", "task", {}, COMPLETION)
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("calls.db", "calls.db-wal", "calls.db-shm"), 0o600)


def test_two_slashes_alone_are_a_store_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(open_calls(MEMORY)) as store, closing(open_calls(MEMORY)) as other:
        store.put("key", "task", {}, COMPLETION)
        assert store.get("key") == COMPLETION and other.get("key") is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("url", ["sqlite:///", "sqlite://host/calls.db"])
def test_a_url_without_a_path_is_refused(url: str) -> None:
    with pytest.raises(UserError) as caught:
        open_calls(url)
    assert str(caught.value) == (
        f"{url} names no file.\nA path follows three slashes.\nGive a URL such as sqlite:///calls.db."
    )


def test_a_store_that_is_no_database_is_named_and_not_kept_open(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    path.write_text("no database, and long enough for SQLite to see it " * 20)
    with pytest.raises(InfrastructureError, match=r"calls\.db could not be written or read") as caught:
        open_calls(file_url(path))
    assert "remove it" in caught.value.do
    here = Path("/proc/self/fd")
    assert not here.is_dir() or path not in [one.resolve() for one in here.iterdir()]


def test_a_full_disk_stops_the_run_and_names_the_file(tmp_path: Path) -> None:
    with closing(SqliteCalls(str(tmp_path / "calls.db"))) as store:
        store.db.execute("PRAGMA max_page_count = 4")
        with pytest.raises(InfrastructureError, match=r"calls\.db could not be written") as caught:
            store.put("key", "task", {}, Completion("x" * 50_000, "stop", 1, 0, 1, 0.1))
    assert "Free some disk space" in caught.value.do


def test_a_pause_of_more_than_a_minute_is_no_working_time() -> None:
    with closing(SqliteCalls(":memory:")) as store:
        for second in (0, 20, 50, 111, 121):  # 61 s lie between the third and the fourth
            store.put(str(second), "task", {}, COMPLETION)
            paid_at = f"2030-01-01 00:{second // 60:02d}:{second % 60:02d}"
            store.db.execute("UPDATE calls SET paid_at = ? WHERE key = ?", (paid_at, str(second)))
        assert store.working_seconds() == 20 + 30 + 10
