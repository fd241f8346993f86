"""The honesty part: whole searches in a simulated world, and the section of RESULTS.md."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np

from benchmarks.honesty import honesty
from benchmarks.honesty.repeats import repeat_prompt
from benchmarks.honesty.searches import CASES, TESTS, simulate
from promptstill.endpoint.endpoint import Endpoint
from tests.support.fake import FakeEndpoint
from tests.support.world import world_task


def test_searches_in_a_world_without_differences_gain_nothing_and_have_dev_optimism() -> None:
    got = simulate("no prompt is better", 30, 6)
    assert got["gain"] == 0 and got["optimism"] > 0 and got["false"] == got["shipped"] <= 1 / 3
    assert got["evaluated"] < 1 and got["sims"] == 6


def test_searches_over_groups_have_the_groups_of_each_split_and_ship_no_more() -> None:
    name = "no prompt is better, Zipf-sized groups"
    groups = CASES[name].groups(40, np.random.default_rng(0))
    assert len(groups) == 40 * (2 + TESTS) and len(set(groups.values())) == (2 + TESTS) * 5
    got = simulate(name, 40, 2)
    assert got["gain"] == 0 and got["false"] == got["shipped"] <= 0.2 and got["tests"] == TESTS


def test_a_repeat_takes_no_reply_from_an_earlier_one() -> None:
    task = world_task(5, 0)
    with FakeEndpoint(lambda body: "code 3") as fake:
        endpoint, prompt = Endpoint(fake.base_url, "fake"), task.prompt(task.starters()[0])
        found = asyncio.run(repeat_prompt(prompt, task.dev, task.metric, endpoint, times=3))
    assert found == {"greedy": [[0, 0, 0, 1, 0]] * 2, "sampled": [[0, 0, 0, 1, 0]] * 3}
    assert sorted(fake.calls.values()) == [2] * 5 + [3] * 5


def test_every_kind_of_cell_is_rendered() -> None:
    def cell(key: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
        return {"key": key, "result": result}

    score = {"covered": 0.9, "width": 0.2, "sims": 4000, "bca": None, "bca_sims": 0}
    search = {"shipped": 0.2, "false": 0.0, "optimism": 0.1, "gain": 0.05, "evaluated": 0.5, "optimism_error": 0.01}
    repeats = {"baseline": {"greedy": [[1.0, 0.0], [1.0, 0.0]], "sampled": [[1.0, 0.0], [0.0, 0.0]]}}
    text = honesty.section([
        cell({"what": "score", "case": "a", "n": 30}, score),
        cell({"what": "score", "case": "c", "n": 30}, {**score, "covered": 0.95, "groups": 4.25, "plain": 0.8}),
        cell({"what": "gain", "case": "b, no gain", "n": 30}, {**score, "shipped": 0.06, "false": 0.06}),
        cell({"what": "search", "case": "w", "n": 30, "trials": 16}, {**search, "sims": 9, "tests": 5}),
        cell({"what": "repeat", "times": 2}, repeats),
    ])  # fmt: skip
    assert "| c | 95.0 (80.0) | 20 |" in text and "| c | 4.2 |" in text
    assert "below 93 a (30)" in text and "| b, no gain | 6.0 |" in text
    assert "| w | 30 | 9 × 5 | 20.0 | 0.0 | +5.0 | +10.0 ± 2.0 | 50% |" in text
    assert "| baseline, greedy | 2 | 50.0 to 50.0 | 0.0% | 0 of 1 |" in text
    assert "| baseline, sampled | 2 | 0.0 to 50.0 | 50.0% | 0 of 1 |" in text
