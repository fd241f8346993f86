"""The variants of our search, and their section of RESULTS.md."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.contest import ablations
from benchmarks.contest.arena import Arena
from benchmarks.contest.tasks import BenchTask
from tests.benchmarks.contest.records import contest_record
from tests.support.fake import FakeEndpoint

CAPS = (110, 220)


def test_a_variant_of_ours_is_an_option_of_the_command_and_ends_at_each_cap(
    task: BenchTask, fake: FakeEndpoint, arena_of: Callable[[FakeEndpoint], Arena]
) -> None:
    with arena_of(fake) as arena:
        points = arena.ours(task, 0, CAPS, "dspy-chat", ablations.VARIANTS["dspy-chat"])["points"]
    assert [point["cap"] for point in points] == list(CAPS)
    assert all(0 < point["calls"] <= point["cap"] for point in points)
    assert points[-1]["program"]["prompt"]["layout"] == "dspy-chat" and points[-1]["dev"] > 0


def test_every_variant_is_explained() -> None:
    assert {ablations.WHOLE, *ablations.VARIANTS} < set(ablations.MEANING)


def test_the_section_compares_each_variant_with_the_whole() -> None:
    records = [contest_record("ours", 500, [1.0] * 40), contest_record("random", 500, [0.0, 1.0] * 20)]
    section = ablations.section(records)
    assert "seed by seed" not in section
    assert "| random | candidates drawn at random, no TPE | 50.0" in section and "-50.0 (" in section
    assert "| ours | the whole search | 100.0" in section
    again = ablations.section([*records, contest_record("random", 500, [0.0] * 40, seed=1)])
    assert "- seed by seed at 500 calls: ours 100.0; random 50.0, 0.0" in again
