"""The contest's section of RESULTS.md, from records."""

from __future__ import annotations

from benchmarks.contest import contest
from tests.benchmarks.contest.records import contest_record as record


def test_the_section_averages_seeds_and_says_who_is_ahead() -> None:
    good, bad = [1.0] * 40, [0.0, 1.0] * 20
    records = [record("baseline", 0, bad), record("ours", 500, bad), record("ours", 500, good, seed=1)]
    records += [
        record("mipro", 500, good, calls=400, version="dspy-ai 1.2"),
        record("gepa", 500, bad, failed="try 1: ParseError", found=False),
    ]
    section = contest.section(records)
    assert "baseline prompt, no search: **50.0" in section and "| promptstill | 75.0" in section
    assert "GEPA: try 1: ParseError" in section and "GEPA had scored nothing within 500 calls" in section
    assert "at 0 of 1 points" in section and "Clearly better than it: t, rows 1/2/3, m at 500 calls: MIPROv2" in section
    assert "does not reach MIPROv2's last score (100.0; seed 0)" in section
    assert "peers: dspy-ai 1.2" in section
    assert "25%" in section and "side by side" not in section


def test_the_section_says_with_how_many_calls_ours_has_miprov2s_score() -> None:
    scores = [1.0, 0.0] * 20
    records = [record("ours", 500, scores), record("mipro", 500, [0.0] * 40), record("mipro", 2000, scores, calls=1900)]
    assert "promptstill has MIPROv2's last score within 500 calls; it took 1,900 (seed 0)" in contest.section(records)
    own = [record("ours", 500, scores, seed) for seed in (1, 2, 3)]
    ended = [record("mipro", 1000, scores, 1, calls=700), record("mipro", 500, scores, 2, calls=490)]
    ended += [record("mipro", 1000, scores, 3, calls=100, found=False)]
    section = contest.section([*records, *own, *ended])
    assert "it took 1,300 (seed 0, 1)" in section, "each seed's own end; not one by the cap, or without a score"
    assert "; seed by seed: 500 of 1,900, 500 of 700\n" in section
    better = record("ours", 1000, [1.0] * 40)
    mixed = contest.section([*records, better, record("ours", 500, [0.0] * 40, 1), *ended])
    assert "within 1,000 calls; it took 1,300 (seed 0, 1); seed by seed: 500 of 1,900, not of 700\n" in mixed
    lost = contest.section([record("ours", 500, [0.0] * 40, 1), *records, *ended])
    assert "does not reach MIPROv2's last score (50.0; seed 0, 1)" in lost


def test_a_search_that_its_time_limit_ended_is_named_and_its_point_is_not_fair() -> None:
    scores, ended = [1.0, 0.0] * 20, "try 1: ended by the time limit of 50 s, after 70 calls"
    late = record("mipro", 500, scores, calls=70, failed=ended)
    own = [record("ours", cap, scores) for cap in (500, 1000)]
    section = contest.section([*own, late])
    assert "this does not show who is better" in section and "best, or within noise" not in section
    section = contest.section(
        [*own, late, record("mipro", 1000, scores, calls=700, failed=f"{ended}; no", **{"try": 2})]
    )
    assert "it took 700 (seed 0)" in section and "at 2 of 2 points" in section
    assert "At 1 of these points each peer measured there had all its calls or ended by itself" in section
    section = contest.section([*own, record("mipro", 1000, scores, calls=1000, failed=ended)])
    assert "At 1 of" not in section, "it had all its calls"
    section = contest.section([*own, record("mipro", 500, [1.0] * 40, calls=70, failed=ended)])
    assert (
        "this does not show" in section and "Clearly better than it: t, rows 1/2/3, m at 500 calls: MIPROv2" in section
    )


def test_contestants_are_compared_over_the_seeds_that_both_have() -> None:
    good, bad = [1.0] * 40, [0.0, 1.0] * 20
    records = [record("ours", 500, good, seed=1), record("ours", 500, bad), record("mipro", 500, bad)]
    records += [record("ours", 1000, good), record("gepa", 500, bad, seed=2)]
    section = contest.section(records)
    assert "| promptstill | 75.0" in section and " ×2 | 100.0" in section
    mipro = next(line for line in section.splitlines() if line.startswith("| MIPROv2"))
    assert "| +0.0 (" in mipro and mipro.endswith(") at 500 |"), "seed 0 alone, at a cap that is not the last"
    assert "promptstill has MIPROv2's last score within 500 calls" in section
    assert "at 1 of 1 points" in section, "gepa has no seed in common with ours"
    assert 'seed by seed at 500 calls: MIPROv2(auto="light") 50.0; GEPA 50.0; promptstill 50.0, 100.0' in section
