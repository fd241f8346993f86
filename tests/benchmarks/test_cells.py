"""benchmarks.cells: what was measured is stored once, and survives a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.cells import cell, read


class Counted:
    """A measurement that counts how often it was made."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> dict[str, Any]:
        self.made += 1
        return {"figure": self.made}


def test_a_stored_cell_is_not_measured_again(tmp_path: Path) -> None:
    make = Counted()
    first = cell("part", {"n": 30, "kind": "f1"}, make, folder=tmp_path)
    again = cell("part", {"kind": "f1", "n": 30}, make, folder=tmp_path)
    other = cell("part", {"kind": "f1", "n": 50}, make, folder=tmp_path)
    assert (first, again, other, make.made) == ({"figure": 1}, {"figure": 1}, {"figure": 2}, 2)
    record = read("part", tmp_path)[0]
    assert record["versions"]["python"] and record["seconds"] >= 0 and record["at"].endswith("+00:00")


def test_a_torn_last_line_costs_that_cell_alone(tmp_path: Path) -> None:
    make = Counted()
    for n in (1, 2):
        cell("part", {"n": n}, make, folder=tmp_path)
    path = tmp_path / "part.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    assert cell("part", {"n": 1}, make, folder=tmp_path) == {"figure": 1}
    assert cell("part", {"n": 2}, make, folder=tmp_path) == {"figure": 3}
    assert [record["key"] for record in read("part", tmp_path)] == [{"n": 1}, {"n": 2}]


def test_a_failed_measurement_stores_nothing(tmp_path: Path) -> None:
    def fails() -> dict[str, Any]:
        raise RuntimeError("the engine died")

    with pytest.raises(RuntimeError):
        cell("part", {"n": 1}, fails, folder=tmp_path)
    assert read("part", tmp_path) == []
