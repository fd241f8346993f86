"""The contest's cells: our search and a peer against a fake endpoint, at each cap, once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import cells
from benchmarks.contest import contest
from benchmarks.contest.arena import Arena
from benchmarks.contest.tasks import BenchTask
from tests.support.fake import FakeEndpoint

CAPS = (110, 220)
ArenaOf = Callable[[FakeEndpoint], Arena]


@pytest.mark.parametrize("name", ["ours", "bootstrap"])
def test_a_searcher_fills_a_cell_for_each_cap_and_a_second_run_asks_nothing(
    name: str, task: BenchTask, fake: FakeEndpoint, arena_of: ArenaOf, tmp_path: Path
) -> None:
    with arena_of(fake) as arena:
        contest.measure(arena, contest.Entry(task, "predict", 0), CAPS)
        contest.measure(arena, contest.Entry(task, name, 0), CAPS)
    calls = len(fake.bodies)
    with arena_of(fake) as arena:
        contest.measure(arena, contest.Entry(task, name, 0), CAPS)
        contest.measure(arena, contest.Entry(task, name, 0), CAPS[:1])
    assert len(fake.bodies) == calls, "a search is known at each of its caps"
    (tmp_path / "results" / "searches.jsonl").unlink()
    with arena_of(fake) as arena:
        contest.measure(arena, contest.Entry(task, name, 0), CAPS)
    assert len(fake.bodies) == calls, "its cells are enough: the searches are not stored with them"
    records = cells.read("contest", tmp_path / "results")
    assert [record["key"]["cap"] for record in records] == [0, *CAPS]
    first, *found = [record["result"] for record in records]
    for cap, result in zip(CAPS, found, strict=True):
        assert 0 < result["calls"] <= cap and result["prompt_tokens"] > 0 and not result["failed"]
        assert len(result["test"]["scores"]) == 30
        assert result["test"]["mean"] == pytest.approx(sum(result["test"]["scores"]) / 30, abs=1e-4)
    assert found[-1]["test"]["mean"] > first["test"]["mean"], "demos help on this task, and each of the two uses them"
    section = contest.section(records)
    assert "### codes, rows 30/20/30, fake" in section and "| 110 calls | 220 calls |" in section


def test_the_baseline_prompt_has_a_cell_without_a_cap(
    task: BenchTask, fake: FakeEndpoint, arena_of: ArenaOf, tmp_path: Path
) -> None:
    with arena_of(fake) as arena:
        contest.measure(arena, contest.Entry(task, "baseline", 0), CAPS)
    (record,) = cells.read("contest", tmp_path / "results")
    assert record["key"]["contestant"] == "baseline" and record["key"]["cap"] == contest.UNCAPPED


def test_where_the_endpoint_goes_nothing_is_stored_as_a_peers_failure(
    task: BenchTask, arena_of: ArenaOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_LIMIT_S", "10")  # the peer would ask again for longer
    with FakeEndpoint() as gone:
        arena = arena_of(gone)
    with arena, pytest.raises(RuntimeError, match="the endpoint has gone"):
        contest.measure(arena, contest.Entry(task, "mipro", 0), CAPS)
    assert not cells.read("contest", tmp_path / "results") and not cells.read("searches", tmp_path / "results")


def test_a_peer_that_ended_within_a_cap_is_not_run_again_for_a_larger_one(
    task: BenchTask, fake: FakeEndpoint, arena_of: ArenaOf, tmp_path: Path
) -> None:
    with arena_of(fake) as arena:
        contest.measure(arena, contest.Entry(task, "bootstrap", 0), (110, 2_000))
    calls = len(fake.bodies)
    with arena_of(fake) as arena:
        contest.measure(arena, contest.Entry(task, "bootstrap", 0), (110, 2_000, 4_000, 8_000))
    assert len(fake.bodies) == calls
    found = [(one["key"]["cap"], one["result"]) for one in cells.read("contest", tmp_path / "results")]
    assert [(cap, one["cap"], one["done"]) for cap, one in found] == [
        (110, 110, False),
        *((cap, cap, True) for cap in (2_000, 4_000, 8_000)),
    ]
    assert len({(one["calls"], str(one["test"])) for _, one in found[1:]}) == 1
