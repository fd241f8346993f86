"""Simulated searches: the worlds are what they say, a search in them can be repeated, and gains are paired."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks.simulation import simulated
from optimizer.search.candidate import Candidate
from optimizer.search.search import Search
from promptstill.endpoint.allowance import LimitReached
from tests.support.world import ADD_UP, ALONE, SPREAD, CappedWorld, World, request_text, world_task

VARIANT_CLASSES = sorted({kind for kind, _ in simulated.VARIANTS.values()} - {Search}, key=lambda kind: kind.__name__)


def test_the_simulated_model_answers_as_often_right_as_it_says() -> None:
    task, world = world_task(400, 0), World(0.5, 3)
    prompt = task.prompt(task.starters()[0])
    replies = [asyncio.run(world.complete(prompt.request(row.inputs), "task")).text for row in task.dev]
    right = np.mean([reply == f"code {i}" for i, reply in enumerate(replies)])
    assert right == pytest.approx(world.truth(prompt), abs=0.08)


def test_a_capped_world_answers_no_more_than_its_cap_and_repeats_are_free() -> None:
    task, world = world_task(3, 0), CappedWorld(ALONE, 1, 3)
    prompt = task.prompt(task.starters()[0])

    def ask(item: int) -> None:
        asyncio.run(world.complete(prompt.request({"item": f"item {item}"}), "task"))

    for item in (0, 1, 2, 0, 1, 2):
        ask(item)
    with pytest.raises(LimitReached):
        ask(9)


def test_where_choices_add_up_prompts_that_share_them_are_alike() -> None:
    task = world_task(3, 0)
    start = Candidate("raw", "labeled-0", k=4, instruction=0)
    candidates = {"start": start, "near": replace(start, k=8), "far": Candidate("chat", "none", k=4, instruction=3)}
    texts = {name: request_text(task.prompt(one)) for name, one in candidates.items()}
    differences: dict[str, list[float]] = {"near": [], "far": []}
    for seed in range(200):
        world = CappedWorld(ADD_UP, seed, 1)
        for name, found in differences.items():
            found.append(abs(world.ability(texts["start"]) - world.ability(texts[name])))
    assert np.mean(differences["near"]) < 0.8 * np.mean(differences["far"])
    spreads = [np.std([CappedWorld(world, seed, 1).ability(texts["start"]) for seed in range(300)])
               for world in simulated.WORLDS]  # fmt: skip
    assert spreads == pytest.approx([SPREAD] * 2, rel=0.15)


@pytest.mark.parametrize("world", simulated.WORLDS)
@pytest.mark.parametrize("variant", simulated.VARIANTS)
def test_a_search_in_a_simulated_world_can_be_repeated(world: str, variant: str) -> None:
    assert simulated.true_gain(world, variant, 400, 2) == simulated.true_gain(world, variant, 400, 2)


@pytest.mark.parametrize("variant", VARIANT_CLASSES)
def test_what_a_variant_overrides_is_there(variant: type[Search]) -> None:
    assert {name for name in vars(variant) if not name.startswith("__")} <= set(dir(Search))


def test_the_section_shows_paired_differences() -> None:
    def cell(search: str, cap: int, gains: list[float]) -> dict[str, Any]:
        key = {"world": ADD_UP, "search": search, "cap": cap, "searches": 2, "seed": 0}
        return {"key": key, "result": {"gains": gains}}

    text = simulated.section([cell("whole", 500, [0.2, 0.1]), cell("random", 500, [0.1, 0.0])])
    assert "| whole | +15.0 ± 9.8 |  |" in text and "| random | +5.0 ± 9.8 | -10.0 ± 0.0 |" in text
