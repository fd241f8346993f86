"""The contest's cells: our search and a peer against a fake endpoint, at each cap, once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import cells
from benchmarks.contest import contest
from benchmarks.contest.arena import Arena
from benchmarks.contest.tasks import BenchTask
from benchmarks.contest.version import RIVALS, commit
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
    winners = {one["key"]["program"]: one["result"] for one in cells.read("contest_winners", tmp_path / "results")}
    records = cells.read("contest", tmp_path / "results")
    assert [record["key"]["cap"] for record in records] == [0, *CAPS]
    first, *found = [record["result"] for record in records]
    assert {winners[one["winner"]]["contestant"] for one in (first, *found)} == {"predict", name}
    for cap, result in zip(CAPS, found, strict=True):
        assert 0 < result["calls"] <= cap and result["prompt_tokens"] > 0 and not result["failed"]
        assert len(result["test"]["scores"]) == 30 and result["commit"] == commit() and result["version"]
        assert result["test"]["mean"] == pytest.approx(sum(result["test"]["scores"]) / 30, abs=1e-4)
    assert found[-1]["test"]["mean"] > first["test"]["mean"], "demos help on this task, and each of the two uses them"
    section = contest.section(records)
    assert "### codes, rows 30/20/30 (deal " in section and "| 110 calls | 220 calls |" in section


def test_a_grid_that_is_stopped_has_whole_seeds_and_what_is_not_drawn_once() -> None:
    planned = contest.entries(fast=False, tasks=["tickets"])
    assert [one.seed for one in planned] == sorted(one.seed for one in planned)
    seeds = {name: [one.seed for one in planned if one.contestant == name] for name in contest.ORDER}
    assert seeds["bag_of_words"] == seeds["knn-16"] == [0] and seeds["labeled-16"] == seeds["ours"] == [0, 1, 2]
    assert {one.seed for one in contest.entries(fast=True)} == {0}


def test_the_baseline_prompt_has_a_cell_without_a_cap(
    task: BenchTask, fake: FakeEndpoint, arena_of: ArenaOf, tmp_path: Path
) -> None:
    with arena_of(fake) as arena:
        contest.measure(arena, contest.Entry(task, "baseline", 0), CAPS)
    (record,) = cells.read("contest", tmp_path / "results")
    assert record["key"]["contestant"] == "baseline" and record["key"]["cap"] == contest.UNCAPPED


def test_what_does_not_search_takes_a_call_for_a_test_row_and_shows_its_demos(
    task: BenchTask, fake: FakeEndpoint, arena_of: ArenaOf, tmp_path: Path
) -> None:
    task.recipe.write_text(task.recipe.read_text().replace("code: str", 'code: Literal["c0", "c1"]'))
    task.recipe.write_text(f"from typing import Literal\n{task.recipe.read_text()}")
    demos = {"predict": 0, "labeled-16": 16, "knn-8": 8}
    with arena_of(fake) as arena:
        for name, count in demos.items():
            before = len(fake.bodies)
            contest.measure(arena, contest.Entry(task, name, 1), CAPS)
            bodies = fake.bodies[before:]
            assert len(bodies) == 30
            assert {len(body["messages"]) for body in bodies} == {2 + 2 * count}
            for body in bodies:  # else a label could be any text, and the contest one of formats
                schema = body["response_format"]["json_schema"]["schema"]
                assert schema["properties"]["code"]["enum"] == ["c0", "c1"] and schema["required"] == ["code"]
    found = {one["key"]["contestant"]: one["result"] for one in cells.read("contest", tmp_path / "results")}
    assert set(found) == set(demos) and all(one["ended"] == "itself" and one["winner"] for one in found.values())
    knn = [body["messages"] for body in fake.bodies if len(body["messages"]) == 18]
    assert len({str(messages[1:-1]) for messages in knn}) > 1, "the demos go by the row"


@pytest.mark.parametrize("name", ["simba", "starters"])
def test_a_search_that_can_end_by_itself_does_so_within_its_cap(
    name: str, task: BenchTask, fake: FakeEndpoint, arena_of: ArenaOf, tmp_path: Path
) -> None:
    with arena_of(fake) as arena:
        contest.measure(arena, contest.Entry(task, name, 0), (400,))
    (record,) = cells.read("contest", tmp_path / "results")
    result = record["result"]
    assert result["ended"] == "itself" and result["found"] and 0 < result["calls"] < 400
    assert "left out" not in contest.section([record])


@pytest.mark.parametrize("name", RIVALS)
def test_a_rival_asks_nothing(
    name: str, task: BenchTask, fake: FakeEndpoint, arena_of: ArenaOf, tmp_path: Path
) -> None:
    pytest.importorskip("promptstill.scoring.rivals.measure")
    with arena_of(fake) as arena:
        contest.measure(arena, contest.Entry(task, name, 0), CAPS)
    (record,) = cells.read("contest", tmp_path / "results")
    assert len(record["result"]["test"]["scores"]) == 30 and not fake.bodies


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
    assert [(cap, one["cap"], one["ended"]) for cap, one in found] == [
        (110, 110, "calls"),
        *((cap, cap, "itself") for cap in (2_000, 4_000, 8_000)),
    ]
    assert len({(one["calls"], str(one["test"])) for _, one in found[1:]}) == 1
