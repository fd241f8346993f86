"""The contest's and the ablations' parts of RESULTS.md, from records."""

from __future__ import annotations

from typing import Any

from benchmarks import ablations, contest


def record(name: str, cap: int, scores: list[float], seed: int = 0, **more: Any) -> dict[str, Any]:
    key = {"task": "t", "rows": "1/2/3", "model": "m", "contestant": name, "seed": seed, "cap": cap}
    test = {"scores": scores, "mean": sum(scores) / len(scores), "unparsed": 0.25}
    spent = {"calls": cap, "prompt_tokens": 10, "completion_tokens": 5, "seconds": 7.0}
    result = {"test": test, "failed": "", "found": True, "side_by_side": 1, **spent, **more}
    return {"key": key, "result": result, "at": "", "seconds": 0.0}


def test_the_section_averages_seeds_and_says_who_is_ahead() -> None:
    good, bad = [1.0] * 40, [0.0, 1.0] * 20
    records = [record("seed", 0, bad), record("ours", 500, bad), record("ours", 500, good, seed=1)]
    records += [
        record("mipro", 500, good, calls=400, version="dspy-ai 1.2"),
        record("gepa", 500, bad, failed="try 1: ParseError", found=False),
    ]
    said = contest.section(records)
    assert "seed prompt, no search: **50.0" in said and "| promptstill | 75.0" in said
    assert "GEPA: try 1: ParseError" in said and "GEPA had scored nothing within 500 calls" in said
    assert "at 0 of 1 points" in said and "Ahead of it beyond doubt: t, rows 1/2/3, m at 500 calls: MIPROv2" in said
    assert "does not come to MIPROv2's last score (100.0; seed 0)" in said
    assert "peers: dspy-ai 1.2" in said
    assert "25%" in said and "side by side" not in said


def test_the_section_says_with_how_many_calls_ours_has_miprov2s_score() -> None:
    scores = [1.0, 0.0] * 20
    records = [record("ours", 500, scores), record("mipro", 500, [0.0] * 40), record("mipro", 2000, scores, calls=1900)]
    assert "promptstill has MIPROv2's last score within 500 calls; it took 1,900 (seed 0)" in contest.section(records)
    own = [record("ours", 500, scores, seed) for seed in (1, 2, 3)]
    ended = [record("mipro", 1000, scores, 1, calls=700), record("mipro", 500, scores, 2, calls=490)]
    ended += [record("mipro", 1000, scores, 3, calls=100, found=False)]
    said = contest.section([*records, *own, *ended])
    assert "it took 1,300 (seed 0, 1)" in said, "each seed's own end; not one that the cap cut off, or without a score"
    assert "; seed by seed: 500 of 1,900, 500 of 700\n" in said
    better = record("ours", 1000, [1.0] * 40)
    mixed = contest.section([*records, better, record("ours", 500, [0.0] * 40, 1), *ended])
    assert "within 1,000 calls; it took 1,300 (seed 0, 1); seed by seed: 500 of 1,900, not of 700\n" in mixed
    lost = contest.section([record("ours", 500, [0.0] * 40, 1), *records, *ended])
    assert "does not come to MIPROv2's last score (50.0; seed 0, 1)" in lost


def test_a_search_that_its_time_ended_is_no_end_of_its_own_and_had_not_the_same_calls() -> None:
    scores, ended = [1.0, 0.0] * 20, "try 1: ended by the time limit of 50 s, after 70 calls"
    late = record("mipro", 500, scores, calls=70, failed=ended)
    own = [record("ours", cap, scores) for cap in (500, 1000)]
    said = contest.section([*own, late])
    assert "who is better is not told by this" in said and "best, or within noise" not in said
    said = contest.section([*own, late, record("mipro", 1000, scores, calls=700, failed=f"{ended}; no", **{"try": 2})])
    assert "it took 700 (seed 0)" in said and "at 2 of 2 points" in said
    assert "At 1 of these points each peer measured there had its calls or came to its own end" in said
    said = contest.section([*own, record("mipro", 1000, scores, calls=1000, failed=ended)])
    assert "At 1 of" not in said, "it had all its calls"
    said = contest.section([*own, record("mipro", 500, [1.0] * 40, calls=70, failed=ended)])
    assert "is not told by this" in said and "Ahead of it beyond doubt: t, rows 1/2/3, m at 500 calls: MIPROv2" in said


def test_contestants_are_compared_over_the_seeds_that_both_have() -> None:
    good, bad = [1.0] * 40, [0.0, 1.0] * 20
    records = [record("ours", 500, good, seed=1), record("ours", 500, bad), record("mipro", 500, bad)]
    records += [record("ours", 1000, good), record("gepa", 500, bad, seed=2)]
    said = contest.section(records)
    assert "| promptstill | 75.0" in said and " ×2 | 100.0" in said
    mipro = next(line for line in said.splitlines() if line.startswith("| MIPROv2"))
    assert "| +0.0 (" in mipro and mipro.endswith(") at 500 |"), "seed 0 alone, at a cap that is not the last"
    assert "promptstill has MIPROv2's last score within 500 calls" in said
    assert "at 1 of 1 points" in said, "gepa has no seed in common with ours"
    assert 'seed by seed at 500 calls: MIPROv2(auto="light") 50.0; GEPA 50.0; promptstill 50.0, 100.0' in said


def test_the_ablations_section_compares_each_variant_with_the_whole() -> None:
    records = [record("ours", 500, [1.0] * 40), record("random", 500, [0.0, 1.0] * 20)]
    said = ablations.section(records)
    assert "seed by seed" not in said
    assert "| random | candidates drawn at random, no TPE | 50.0" in said and "-50.0 (" in said
    assert "| ours | the whole search | 100.0" in said
    again = ablations.section([*records, record("random", 500, [0.0] * 40, seed=1)])
    assert "- seed by seed at 500 calls: promptstill 100.0; random 50.0, 0.0" in again
