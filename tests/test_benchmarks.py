"""The bench: that its figures would show a broken interval, its page comes from stored cells, and growth counts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import coverage, growth, honesty, results, simulated
from benchmarks.cells import append, cell, machine, read
from benchmarks.searches import World, problem, request_text, simulate
from optimizer.errors import BudgetReached

VERSIONS = {"at": "2026-01-01T00:00:00+00:00", "seconds": 60.0, "versions": {"python": "3.11.0", "numpy": "2.0"}}


def put(folder: Path, part: str, key: dict[str, Any], result: dict[str, Any]) -> None:
    append(folder / f"{part}.jsonl", {"key": key, "result": result, **VERSIONS})


@pytest.mark.parametrize("case", coverage.SCORES)
def test_the_score_interval_covers_each_population(case: str) -> None:
    got = coverage.score_coverage(coverage.SCORES[case], 30, 300, 0)
    assert 0.9 <= got["covered"] <= 0.995 and got["sims"] == 300 and got["bca"] is None


@pytest.mark.parametrize("case", coverage.GAINS)
def test_the_gain_interval_covers_and_ships_no_false_gain(case: str) -> None:
    got = coverage.gain_coverage(coverage.GAINS[case], 30, 300, 0)
    assert got["covered"] >= 0.91
    if "no gain" in case:
        assert got["false"] == got["shipped"] <= 0.06
    else:
        assert got["false"] == 0 < got["shipped"]


def test_what_broken_intervals_would_show() -> None:
    draws, truth = coverage.SCORES["0/1, accuracy 90 to 99 %"](200, 30, np.random.default_rng(0))
    assert coverage.bca_covered(draws, truth, 100) == pytest.approx(0.75, abs=0.15)
    points = np.stack([draws.mean(axis=1)] * 2, axis=1)
    assert coverage.covered(points, truth) < 0.1


def test_exchanged_names_leave_no_difference() -> None:
    draws, truth = coverage.exchanged(np.array([0.0, 1.0, 1.0]))(400, 50, np.random.default_rng(0))
    assert not truth.any() and abs(draws.mean()) < 0.02 and set(np.unique(draws)) == {-1.0, 0.0, 1.0}


def test_searches_in_a_world_without_differences_gain_nothing_and_flatter_dev() -> None:
    got = simulate("no prompt is better", 30, 6)
    assert got["gained"] == 0 and got["optimism"] > 0 and got["false"] == got["shipped"] <= 1 / 3
    assert got["bought"] < 1 and got["sims"] == 6


def test_the_simulated_model_answers_as_often_right_as_it_says() -> None:
    work, world = problem(400, 0), World(0.5, 3)
    prompt = work.prompt(work.starters()[0])
    replies = [asyncio.run(world.complete(prompt.request(row.inputs), "task")).text for row in work.dev]
    right = np.mean([reply == f"code {i}" for i, reply in enumerate(replies)])
    assert right == pytest.approx(world.truth(prompt), abs=0.08)


def test_a_capped_world_answers_no_more_than_its_cap_and_what_is_known_is_free() -> None:
    work, model = problem(3, 0), simulated.Capped(simulated.ALONE, 1, 3)
    prompt = work.prompt(work.starters()[0])

    def ask(item: int) -> None:
        asyncio.run(model.complete(prompt.request({"item": f"item {item}"}), "task"))

    for item in (0, 1, 2, 0, 1, 2):
        ask(item)
    with pytest.raises(BudgetReached):
        ask(9)


@pytest.mark.parametrize("world", simulated.WORLDS)
@pytest.mark.parametrize("variant", simulated.VARIANTS)
def test_a_search_in_a_simulated_world_is_the_same_again(world: str, variant: str) -> None:
    assert simulated.gained(world, variant, 400, 2) == simulated.gained(world, variant, 400, 2)


def test_where_choices_add_up_prompts_that_share_them_are_alike() -> None:
    work = problem(3, 0)
    start: dict[str, str | int] = {"layout": "raw", "demos": "labeled-0", "k": 4, "instruction": 0}
    changes: dict[str, dict[str, str | int]] = {
        "start": {},
        "near": {"k": 8},
        "far": {"layout": "chat", "demos": "none", "instruction": 3},
    }
    texts = {name: request_text(work.prompt({**start, **change})) for name, change in changes.items()}
    apart: dict[str, list[float]] = {"near": [], "far": []}
    for seed in range(200):
        world = simulated.Capped(simulated.ADD_UP, seed, 1)
        for name, found in apart.items():
            found.append(abs(world.ability(texts["start"]) - world.ability(texts[name])))
    assert np.mean(apart["near"]) < 0.8 * np.mean(apart["far"])
    spreads = [np.std([simulated.Capped(world, seed, 1).ability(texts["start"]) for seed in range(300)])
               for world in simulated.WORLDS]  # fmt: skip
    assert spreads == pytest.approx([simulated.SPREAD] * 2, rel=0.15)


def test_the_simulated_part_shows_paired_differences() -> None:
    def one(search: str, cap: int, gains: list[float]) -> dict[str, Any]:
        key = {"world": simulated.ADD_UP, "search": search, "cap": cap, "searches": 2, "seed": 0}
        return {"key": key, "result": {"gained": gains}}

    text = simulated.section([one("whole", 500, [0.2, 0.1]), one("random", 500, [0.1, 0.0])])
    assert "| whole | +15.0 ± 9.8 |  |" in text and "| random | +5.0 ± 9.8 | -10.0 ± 0.0 |" in text


def test_the_page_shows_full_results_before_fast_ones_and_says_what_is_missing(tmp_path: Path) -> None:
    full, fast = tmp_path / "results", tmp_path / "results" / "fast"
    for folder, sims in ((full, 4000), (fast, 300)):
        got = {"covered": 0.95, "width": 0.2, "sims": sims, "bca": 0.8, "bca_sims": 10}
        put(folder, "honesty", {"what": "score", "case": "F1, half right", "n": 30, "seed": 0}, got)
    put(fast, "growth", {"what": "pool", "size": 10}, {"each_ms": 0.1, "once_ms": 1.0, "memory_mib": 1.0})
    put(fast, "growth", {"what": "pool", "size": 1000}, {"each_ms": 0.1, "once_ms": 9.0, "memory_mib": 1.0})
    results.note(full, "training", "InfrastructureError: out of memory")
    results.write_page(tmp_path / "RESULTS.md", full)
    page = (tmp_path / "RESULTS.md").read_text()
    assert "4,000" in page and "300 each" not in page and "| F1, half right | 95.0 (80.0) | 20 |" in page
    assert "Fast mode (small sizes). `python -m benchmarks --fast growth`" in page and "slope +0.00" in page
    assert "Not measured: InfrastructureError: out of memory" in page
    assert "`python -m benchmarks client` has not been run" in page
    assert "> Machine not noted." in page and "numpy 2.0" in page and "Seeds 0." in page


def test_a_part_names_the_machines_of_its_own_cells(tmp_path: Path) -> None:
    def noted(cores: int) -> dict[str, Any]:
        return {"cores": cores, "processor": "P", "memory_gib": 8, "flags": "avx2", "gpus": 0}

    append(tmp_path / "machine.jsonl", {"key": noted(4)})
    one = "1 core (P; avx2), 8 GiB, no GPU."
    assert results.machines([{"machine": noted(1)}], tmp_path) == one
    assert results.machines([{"machine": noted(1)}, {}], tmp_path) == one + " / 4 cores (P; avx2), 8 GiB, no GPU."
    cell("part", {"n": 1}, dict, folder=tmp_path)
    assert read("part", tmp_path)[0]["machine"] == machine()


def test_every_part_of_honesty_renders(tmp_path: Path) -> None:
    score = {"covered": 0.9, "width": 0.2, "sims": 4000, "bca": None, "bca_sims": 0}
    put(tmp_path, "honesty", {"what": "score", "case": "a", "n": 30}, score)
    put(tmp_path, "honesty", {"what": "gain", "case": "b, no gain", "n": 30}, {**score, "shipped": 0.06, "false": 0.06})
    found = {"shipped": 0.2, "false": 0.0, "optimism": 0.1, "gained": 0.05, "bought": 0.5}
    put(tmp_path, "honesty", {"what": "search", "case": "w", "n": 30, "trials": 16},
        {**found, "optimism_error": 0.01, "sims": 9})  # fmt: skip
    again = {"seed": {"greedy": [[1.0, 0.0], [1.0, 0.0]], "sampled": [[1.0, 0.0], [0.0, 0.0]]}}
    put(tmp_path, "honesty", {"what": "read again", "times": 2}, again)
    text = honesty.section(read("honesty", tmp_path))
    assert "below 93 a (30)" in text and "| b, no gain | 6.0 |" in text
    assert "| w | 30 | 9 | 20.0 | 0.0 | +5.0 | +10.0 ± 2.0 | 50% |" in text
    assert "| seed, greedy | 2 | 50.0 to 50.0 | 0.0% | 0 of 1 |" in text
    assert "| seed, sampled | 2 | 0.0 to 50.0 | 50.0% | 0 of 1 |" in text


def test_the_slope_is_the_exponent() -> None:
    sizes = [10, 100, 1000]
    assert growth.slope(sizes, [3, 3, 3]) == pytest.approx(0)
    assert growth.slope(sizes, [size**0.5 for size in sizes]) == pytest.approx(0.5)


def test_growth_leaves_out_sizes_that_add_too_few_calls_to_tell() -> None:
    made = [(50, 900, 3.8), (150, 1_400, 3.7), (500, 3_900, 6.8), (5_000, 33_900, 36.8)]
    cells = [
        {"key": {"what": "dev", "size": n, "trials": 16},
         "result": {"calls": calls, "cpu_s": cpu_s, "memory_mib": 4.0, "files_mib": 2.0}}
        for n, calls, cpu_s in made
    ]  # fmt: skip
    said = growth.section(cells)
    assert "more rows than 50 add: 1.00 (500), 1.00 (5,000); slope " in said


def test_growth_counts_the_calls_of_real_runs() -> None:
    small, large = growth.child("dev", 20, 2), growth.child("dev", 40, 2)
    assert small["calls"] < large["calls"] and small["cpu_s"] > 0 and small["files_mib"] > 0


def test_growth_of_a_pool_renders_each_request() -> None:
    got = growth.on_pool(20)
    assert got["each_ms"] > 0 and got["once_ms"] > 0 and got["memory_mib"] >= 0
