"""The arena: each measurement is made once, and parts that follow each other share one engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import cells, endpoint
from benchmarks.contest.arena import Arena
from tests.support.fake import FakeEndpoint


def test_two_that_ask_for_one_measurement_at_once_make_it_once(
    fake: FakeEndpoint, arena_of: Callable[[FakeEndpoint], Arena], tmp_path: Path
) -> None:
    began = threading.Event()

    def slow() -> dict[str, Any]:
        assert not began.is_set(), "measured by both"
        began.set()
        time.sleep(0.2)
        return {"n": 1}

    with arena_of(fake) as arena, ThreadPoolExecutor(3) as pool:
        both = [pool.submit(arena.measure_once, "part", {"program": "p"}, slow) for _ in range(2)]
        other = pool.submit(arena.measure_once, "part", {"program": "q"}, lambda: {"n": int(not both[0].done())})
        assert [one.result() for one in both] == [{"n": 1}, {"n": 1}]
        assert other.result() == {"n": 1}, "another measurement does not wait for it"
    assert len(cells.read("part", tmp_path / "results")) == 2


def test_arenas_share_one_engine_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    running: list[str] = []
    dead: list[str] = []

    @contextmanager
    def engine(*_: object) -> Iterator[Any]:
        running.append("started")
        yield SimpleNamespace(base_url=f"http://127.0.0.1:1/{len(running)}", alive=lambda: not dead)
        running.append("ended")

    monkeypatch.delenv("BENCH_BASE_URL", raising=False)
    monkeypatch.setattr("promptstill.engine.vllm.running_engine", engine)
    monkeypatch.setattr("promptstill.engine.models.find_model", lambda *_: None)
    with endpoint.shared_endpoint():
        for _ in range(2):
            with Arena(tmp_path, fast=True) as arena:
                assert arena.proxy and running == ["started"]
    assert running == ["started", "ended"]
    for _ in range(2):
        with Arena(tmp_path, fast=True) as arena:
            assert arena.proxy
    assert running == 3 * ["started", "ended"]
    with Arena(tmp_path, fast=True):
        pass
    assert running == 3 * ["started", "ended"], "none where no cell needs one"
    with endpoint.shared_endpoint():
        for _ in range(2):
            with Arena(tmp_path, fast=True) as arena:
                assert arena.proxy
            dead.append("by the first part")
    assert running == 5 * ["started", "ended"], "a later part does not pay for an engine that died in an earlier one"
