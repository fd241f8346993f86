"""Each real optimizer runs in a world of rules, ends within its cap, and gains what the proposer is able to give it."""

from __future__ import annotations

import pytest

from benchmarks.simulation.rules.contestants import ALONE, OURS, PEERS, Case, measure, search
from benchmarks.simulation.rules.peers import CANDIDATES, mipro_run, searches, simba_sizes
from benchmarks.simulation.rules.world import RulesWorld
from benchmarks.simulation.rules.worlds import WORLDS

CAP = 250
EASY = 3  # a world of eight rules, which feedback names nearly always


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_ends_within_its_cap(name: str) -> None:
    (point,) = search(Case(EASY, "strong", name), (CAP,))
    assert 100 < point.calls <= CAP and 0 < point.truth < 1
    assert point.ended == (name == "simba"), "its sizes fit the cap; the others are stopped by it"


def test_our_search_is_read_at_each_cap_within_it() -> None:
    points = search(Case(EASY, "strong", OURS), (150, CAP))
    assert [point.cap for point in points] == [150, CAP] and not any(point.ended for point in points)
    assert 0 < points[0].calls <= 150 < points[1].calls <= CAP
    start = RulesWorld(WORLDS[EASY]).truth_of(frozenset())
    assert points[1].truth > start


def test_gepa_gains_by_an_able_proposer_and_nothing_by_one_that_writes_junk() -> None:
    able, junk = (measure(Case(EASY, skill, "gepa"), (CAP,))[0] for skill in ("strong", "junk"))
    assert junk["truth"] == junk["start"] and junk["rules"] == 0
    assert able["truth"] > able["start"] + 0.05 and able["rules"] > 0
    assert able["best"] > able["truth"]


def test_a_search_can_be_repeated() -> None:
    case = Case(EASY, "weak", "gepa")
    assert search(case, (150,)) == search(case, (150,))


def test_without_a_proposer_no_rule_is_stated() -> None:
    (point,) = search(Case(EASY, "junk", ALONE), (150,))
    assert point.rules == 0


@pytest.mark.parametrize("cap", [500, 1_000, 2_000])
def test_simba_ends_within_its_cap(cap: int) -> None:
    sizes = simba_sizes(cap, 100)
    step = sizes.bsize * (2 * CANDIDATES + 1) + CANDIDATES + 1
    scored = min(sizes.max_steps + 1, CANDIDATES + 1)
    assert sizes.bsize >= 16 and cap / 2 < sizes.max_steps * step + scored * 100 <= cap


def test_a_peer_whose_sizes_go_by_the_cap_is_run_anew_for_it() -> None:
    caps = (500, 1_000, 2_000)
    assert searches("gepa", caps) == [[500, 1_000, 2_000]]
    assert searches("mipro", caps) == [[500], [1_000], [2_000]]
    assert [mipro_run(cap) for cap in caps] == ["light", "medium", "heavy"]
    assert searches("simba", caps) == [[500], [1_000], [2_000]]
