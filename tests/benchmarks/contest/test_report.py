"""The contest's section of RESULTS.md, from records."""

from __future__ import annotations

from benchmarks.contest import contest
from tests.benchmarks.contest.records import contest_record as record

GOOD, HALF = [1.0] * 40, [0.0, 1.0] * 20


def row(section: str, name: str) -> str:
    return next(line for line in section.splitlines() if line.startswith(f"| {name} |"))


def test_the_section_averages_seeds_and_gives_both_intervals() -> None:
    records = [record("ours", 500, HALF), record("ours", 500, GOOD, seed=1), record("baseline", 0, HALF)]
    section = contest.section(records)
    assert "| 75.0 ×2 (rows " in row(section, "promptstill") and ", searches 0 to 100) |" in row(section, "promptstill")
    assert row(section, "baseline prompt").startswith("| baseline prompt | 50.0 (rows 3") and "25%" in section
    assert "- seed by seed at 500 calls: promptstill 50.0, 100.0" in section
    assert "side by side: seconds" not in section


def test_whoever_is_above_ours_is_named_beneath_the_table() -> None:
    records = [record("ours", cap, HALF, seed) for cap in (250, 500) for seed in (0, 1, 2)]
    records += [record("bag_of_words", 0, GOOD), record("gepa", 500, [*HALF[:-1], 0.0])]
    section = contest.section(records)
    for cap in (250, 500):
        above = next(line for line in section.splitlines() if f"at {cap} calls above promptstill (50.0)" in line)
        assert "bag of words (no model) by +50.0 (rows +" in above and "clearly" in above and "GEPA" not in above
    assert "At 0 of 2 points (tasks × caps) nobody is clearly better than ours." in section
    assert "Clearly better than it: t, rows 1/2/3, m at 250 calls: bag of words (no model)" in section
    section = contest.section([*records[:-2], record("gepa", 500, HALF)])
    assert "- at 500 calls nobody is above promptstill (50.0)" in section
    assert "at 250 calls nobody" not in section, "with nobody to compare"
    assert "At 1 of 1 points (tasks × caps) nobody is clearly better than ours.\n" in section


def test_a_lead_that_another_search_could_turn_is_within_noise() -> None:
    records = [record("ours", 500, HALF, seed) for seed in (0, 1, 2)]
    records += [record("gepa", 500, scores, seed) for seed, scores in enumerate((GOOD, GOOD, [0.0] * 20 + HALF[:20]))]
    section = contest.section(records)
    assert "GEPA by +25.0 (rows +" in section and "within noise" in section
    assert "At 1 of 1 points" in section


def test_what_the_clock_ended_is_left_out_and_said() -> None:
    late = record("mipro", 500, GOOD, ended="clock", failed="ended by the time limit of 50 s, after 70 calls", calls=70)
    del late["result"]["test"]
    section = contest.section([record("ours", 500, HALF), record("mipro", 500, HALF, seed=1), late])
    assert "50.0 (rows" in row(section, 'MIPROv2(auto="light")'), "the other seed stands"
    why = "is left out at 500 calls: ended by the time limit of 50 s, after 70 calls"
    assert f'- MIPROv2(auto="light"), seed 0, {why}' in section


def test_simba_is_shown_only_where_it_ended_by_itself() -> None:
    records = [record("ours", cap, HALF) for cap in (250, 500)]
    records += [record("simba", 250, HALF), record("simba", 500, HALF, ended="itself")]
    section = contest.section(records)
    assert row(section, "SIMBA").startswith("| SIMBA |  |  | 50.0")
    assert "- SIMBA, seed 0, is left out at 250 calls: had not ended by itself" in section


def test_results_of_an_older_version_stand_apart_with_their_date() -> None:
    old = record("ours", 500, GOOD, at="2026-01-01T")
    old["result"]["version"] = "0"
    section = contest.section([record("ours", 500, HALF, seed=1), old])
    assert "| 50.0 (rows" in row(section, "promptstill")
    assert "- older, of 2026-01-01: promptstill, seed 0, cap 500: 100.0" in section
    assert "versions, and the commits that they were measured at: 1 (abc)" in section


def test_contestants_are_compared_over_the_seeds_that_both_have() -> None:
    records = [record("ours", 500, GOOD, seed=1), record("ours", 500, HALF), record("mipro", 500, HALF)]
    records += [record("ours", 1000, GOOD), record("gepa", 500, HALF, seed=2)]
    section = contest.section(records)
    mipro = row(section, 'MIPROv2(auto="light")')
    assert "| +0.0 (" in mipro and mipro.endswith(") at 500 |"), "seed 0 alone, at a cap that is not the last"
    assert row(section, "GEPA").endswith("|  |"), "no seed in common with ours"


def test_a_failure_and_a_search_that_scored_nothing_are_said() -> None:
    records = [record("ours", 500, HALF), record("gepa", 500, HALF, failed="ParseError", found=False, ended="error")]
    section = contest.section(records)
    assert "- GEPA: ParseError" in section and "GEPA had scored nothing within 500 calls" in section
