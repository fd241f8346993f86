"""The part `rules`: what it measures, that it goes on where it was stopped, and its section."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from benchmarks import cells
from benchmarks.simulation.rules import rules
from benchmarks.simulation.rules.contestants import ALONE, Case

CAPS = (500, 1_000, 2_000)


def test_the_grid_is_twenty_worlds_at_three_skills_and_once_without_each_part() -> None:
    cases = rules.cases(fast=False)
    assert len(cases) == 20 * (3 * 4 + 3) == len(set(cases))
    assert {case.world for case in cases} == set(range(20))
    assert len(rules.cases(fast=True)) == 12


def test_cells_are_stored_once_for_each_cap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Case] = []

    def measure(case: Case, caps: Sequence[int]) -> list[dict[str, Any]]:
        asked.append(case)
        return [{"cap": cap, "truth": 0.5} for cap in caps]

    monkeypatch.setattr(rules, "measure", measure)
    todo = [Case(0, "strong", "gepa"), Case(0, "junk", ALONE)]
    for _ in range(2):
        with ThreadPoolExecutor(1) as pool:
            rules.measure_all(pool, todo, CAPS, tmp_path)
    records = cells.read(rules.PART, tmp_path)
    assert len(asked) == 4 and len(records) == 6
    assert records[0]["key"] == {"world": 0, "skill": "strong", "contestant": "gepa", "cap": 500, "seed": 101}
    assert "gepa" in records[0]["result"]["version"] and "promptstill" in records[3]["result"]["version"]


def record(contestant: str, cap: int, truth: float, world: int = 0, **result: Any) -> dict[str, Any]:
    key = {"world": world, "skill": "strong", "contestant": contestant, "cap": cap, "seed": 101 + world}
    found = {"truth": truth, "start": 0.25, "best": 0.85, "version": "new", **result}
    return {"key": key, "result": found, "at": "2026-12-02"}


def test_the_section_pairs_worlds_and_shows_the_newest_version() -> None:
    records = [record("ours", 500, 0.5 + world / 10, world) for world in range(2)]
    records += [record("gepa", cap, 0.4 + cap / 10_000, world) for world in range(2) for cap in (500, 2_000)]
    records += [{**record("gepa", 500, 0.9, 2, version="old"), "at": "2026-12-01"}]
    text = rules.section(records)
    assert "| promptstill | 55.0 ± 9.8 |  |" in text
    assert "| GEPA | 45.0 ± 0.0 | 60.0 ± 0.0 | -10.0 ± 9.8 |" in text
    assert "Promptstill with 500 calls minus GEPA with 2,000: -5.0 ± 9.8 points." in text
    assert "The baseline prompt has 25.0, the best prompt there is 85.0." in text and "weak" not in text
