"""`python -m benchmarks`: parts that fail are said so, and stop no other."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchmarks import __main__ as bench
from benchmarks import results
from benchmarks.cells import cell, read
from optimizer.errors import UserError


def part(name: str, run: Any) -> ModuleType:
    module = ModuleType(f"benchmarks.{name}")
    vars(module).update(run=run, section=lambda cells: f"## {name}\n\n{cells[0]['result']['said']}")
    return module


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bench of two parts, of which the first fails, in a folder of its own."""

    def fails(fast: bool) -> None:
        raise UserError("The engine is not here.", "", "Start it.")

    def works(fast: bool) -> None:
        cell("works", {"fast": int(fast)}, lambda: {"said": "it works"}, folder=tmp_path / "fast")

    for name, run in (("fails", fails), ("works", works)):
        monkeypatch.setitem(sys.modules, f"benchmarks.{name}", part(name, run))
    for module in (bench, results):
        monkeypatch.setattr(module, "PARTS", ("fails", "works"))
        monkeypatch.setattr(module, "RESULTS", tmp_path)
        monkeypatch.setattr(module, "FAST", tmp_path / "fast")
    page = tmp_path / "RESULTS.md"
    monkeypatch.setattr(bench, "write_page", lambda: results.write_page(page, tmp_path, tmp_path / "fast"))
    return tmp_path


def test_a_failed_part_is_told_and_stops_no_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--fast"])
    assert bench.main() == 1
    page = (folder / "RESULTS.md").read_text()
    assert "Not measured: The engine is not here." in page and "it works" in page and "Fast mode" in page
    assert len(read("works", folder / "fast")) == 1


def test_named_parts_alone_are_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--fast", "works"])
    assert bench.main() == 0
    assert "`python -m benchmarks fails` has not been run" in (folder / "RESULTS.md").read_text()


def test_an_unknown_part_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "speed"])
    with pytest.raises(SystemExit, match="2"):
        bench.main()
