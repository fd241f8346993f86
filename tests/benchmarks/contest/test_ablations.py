"""The variants of our search, and their section of RESULTS.md."""

from __future__ import annotations

import json
from collections.abc import Callable

from benchmarks.contest import ablations
from benchmarks.contest.arena import Arena
from benchmarks.contest.tasks import BenchTask
from benchmarks.contest.variants import RandomSearch
from optimizer.search.search import Search
from tests.benchmarks.contest.records import contest_record
from tests.support.fake import FakeEndpoint

CAPS = (110, 220)


def test_variants_of_ours_end_at_the_cap_and_one_has_no_demos(
    task: BenchTask, fake: FakeEndpoint, arena_of: Callable[[FakeEndpoint], Arena]
) -> None:
    with arena_of(fake) as arena:
        found = {name: arena.ours(task, 0, CAPS, name, ablations.VARIANTS[name]) for name in ("no-demos", "random")}
    for name, result in found.items():
        assert [point["cap"] for point in result["points"]] == list(CAPS)
        assert all(0 < point["calls"] <= point["cap"] for point in result["points"]), name
    prompt = found["no-demos"]["points"][-1]["program"]["prompt"]
    assert prompt["nearest"] is None or prompt["nearest"]["k"] == 0
    assert "c0" not in json.dumps(prompt["fixed"])
    assert found["random"]["points"][-1]["dev"] > 0, "starters with demos are right sometimes"


def test_what_the_random_search_overrides_is_there() -> None:
    assert {name for name in vars(RandomSearch) if not name.startswith("__")} <= set(dir(Search))


def test_the_section_compares_each_variant_with_the_whole() -> None:
    records = [contest_record("ours", 500, [1.0] * 40), contest_record("random", 500, [0.0, 1.0] * 20)]
    section = ablations.section(records)
    assert "seed by seed" not in section
    assert "| random | candidates drawn at random, no TPE | 50.0" in section and "-50.0 (" in section
    assert "| ours | the whole search | 100.0" in section
    again = ablations.section([*records, contest_record("random", 500, [0.0] * 40, seed=1)])
    assert "- seed by seed at 500 calls: promptstill 100.0; random 50.0, 0.0" in again
