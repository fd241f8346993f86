"""The wire: each call paid once, failures retried or told, budgets kept, disks that fill."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from optimizer.budget import Budget, Meter
from optimizer.calls import Completion, SqliteCalls
from optimizer.client import Client, Endpoint
from optimizer.errors import BudgetReached, InfrastructureError, RequestRefused, UserError
from tests.fake import FakeEndpoint


def body(text: str) -> dict[str, Any]:
    return {"model": "fake", "messages": [{"role": "user", "content": text}], "temperature": 0.0, "max_tokens": 8}


def ask(fake: FakeEndpoint, texts: list[str], path: Path, budget: Budget | None = None, **endpoint: Any) -> Meter:
    """Ask all texts at once with a store of its own at `path`; the meter afterwards."""

    async def run() -> Meter:
        with closing(SqliteCalls(path / "calls.db")) as store:
            meter = Meter(budget or Budget(), store.totals())
            async with Client(Endpoint(fake.base_url, "weights", **endpoint), store, meter) as client:
                await asyncio.gather(*(client.complete(body(text), "task") for text in texts))
        return meter

    return asyncio.run(run())


def test_nothing_is_paid_for_twice(tmp_path: Path) -> None:
    with FakeEndpoint() as fake:
        first = ask(fake, ["a", "b", "a", "b"], tmp_path)
        again = ask(fake, ["a", "b", "c"], tmp_path)
    assert sorted(fake.calls.values()) == [1, 1, 1]
    assert first.total.calls == 2 and again.total.calls == 3 and again.hits == 2


def test_the_window_is_kept_full_and_never_exceeded(tmp_path: Path) -> None:
    with FakeEndpoint() as fake:
        fake.delay_s = 0.02
        ask(fake, [str(i) for i in range(60)], tmp_path, window=8)
    assert fake.most_in_flight == 8


@pytest.mark.parametrize("status", [429, 500, 503])
def test_half_of_the_calls_failing_loses_nothing(status: int, tmp_path: Path) -> None:
    with FakeEndpoint() as fake:
        fake.misbehave = lambda number: status if number % 2 else None
        meter = ask(fake, [str(i) for i in range(30)], tmp_path)
    assert meter.total.calls == 30 and set(fake.calls.values()) == {1}


def test_a_dead_endpoint_stops_the_run(tmp_path: Path) -> None:
    with FakeEndpoint() as fake:
        pass
    with pytest.raises(InfrastructureError, match="does not answer"):
        ask(fake, ["a"], tmp_path, patience_s=0.1)


def test_a_wrong_key_is_the_users_to_mend(tmp_path: Path) -> None:
    with FakeEndpoint(key="right") as fake, pytest.raises(UserError) as caught:
        ask(fake, ["a"], tmp_path, api_key="wrong", key_name="MY_KEY")
    assert caught.value.do == "Set it: export MY_KEY=…" and "invalid api key" in caught.value.why


def test_a_refused_request_is_its_own_failure(tmp_path: Path) -> None:
    with FakeEndpoint() as fake:
        fake.misbehave = lambda number: 400
        with pytest.raises(RequestRefused, match="told to answer 400"):
            ask(fake, ["a"], tmp_path)


def test_no_call_beyond_the_budget(tmp_path: Path) -> None:
    with FakeEndpoint() as fake, pytest.raises(BudgetReached, match="--max-calls 5"):
        ask(fake, [str(i) for i in range(20)], tmp_path, Budget(calls=5))
    assert sum(fake.calls.values()) <= 5


def test_what_is_held_for_test_is_not_spent() -> None:
    meter = Meter(Budget(calls=10), {}, held=8)
    meter.reserve()
    meter.reserve()
    with pytest.raises(BudgetReached):
        meter.reserve()


def test_a_store_that_is_no_database_is_named_and_not_kept_open(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    path.write_text("no database, and long enough for SQLite to see it " * 20)
    with pytest.raises(InfrastructureError, match=r"calls\.db could not be written or read") as caught:
        SqliteCalls(path)
    assert "remove it" in caught.value.do
    here = Path("/proc/self/fd")
    assert not here.is_dir() or path not in [one.resolve() for one in here.iterdir()]


def test_a_full_disk_stops_the_run_and_names_the_file(tmp_path: Path) -> None:
    store = SqliteCalls(tmp_path / "calls.db")
    store.db.execute("PRAGMA max_page_count = 4")
    completion = Completion("x" * 50_000, "stop", 1, 0, 1, 0.1)
    with pytest.raises(InfrastructureError, match=r"calls\.db could not be written"):
        store.put("key", "task", body("a"), completion)
    store.close()
