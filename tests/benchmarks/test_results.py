"""RESULTS.md comes from stored cells: full ones before fast ones, and what is missing is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.cells import RESULTS, append, cell, machine, read

ABOUT = {"at": "2026-01-01T00:00:00+00:00", "seconds": 60.0, "versions": {"python": "3.11.0", "numpy": "2.0"}}


def put(folder: Path, part: str, key: dict[str, Any], result: dict[str, Any]) -> None:
    append(folder / f"{part}.jsonl", {"key": key, "result": result, **ABOUT})


def test_the_page_shows_full_results_before_fast_ones_and_says_what_is_missing(tmp_path: Path) -> None:
    full, fast = tmp_path / "results", tmp_path / "results" / "fast"
    for folder, sims in ((full, 4000), (fast, 300)):
        got = {"covered": 0.95, "width": 0.2, "sims": sims, "bca": 0.8, "bca_sims": 10}
        put(folder, "honesty", {"what": "score", "case": "F1, half right", "n": 30, "seed": 0}, got)
    put(fast, "growth", {"what": "pool", "size": 10}, {"each_ms": 0.1, "once_ms": 1.0, "memory_mib": 1.0})
    put(fast, "growth", {"what": "pool", "size": 1000}, {"each_ms": 0.1, "once_ms": 9.0, "memory_mib": 1.0})
    results.note_end(full, "training", "InfrastructureError: out of memory")
    results.note_end(full, "dropped", None)
    results.write_page(tmp_path / "RESULTS.md", full)
    page = (tmp_path / "RESULTS.md").read_text()
    assert "4,000" in page and "300 each" not in page and "| F1, half right | 95.0 (80.0) | 20 |" in page
    assert "Fast mode (small sizes). `python -m benchmarks --fast growth`" in page and "slope +0.00" in page
    assert "Not measured: InfrastructureError: out of memory" in page
    assert "`python -m benchmarks client` has not been run" in page
    assert "Not measured: there is no such part." in page
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


def test_every_part_that_has_cells_is_on_the_page_of_the_project() -> None:
    page = results.PAGE.read_text(encoding="utf-8")
    measured = [part for part in results.PARTS if read(part, RESULTS)]
    assert len(measured) > 5
    for part in measured:
        assert f"> `{results.command(part)}`:" in page, part
    assert "cannot be shown" not in page
