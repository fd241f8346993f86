"""What reflection is made of: the request to the proposer, and by how much a child must be ahead."""

from __future__ import annotations

from optimizer.search.reflection.pairing import errors_ahead
from optimizer.search.reflection.request import write_request


def test_a_request_leaves_out_what_does_not_fit_and_names_what_is_confused() -> None:
    records = [{"Input: item": f"number {n} " + "x" * 300} for n in range(8)]
    assert "number 7" in write_request("Say the kind.", records, 2_000)
    short = write_request("Say the kind.", records, 700)
    assert "number 0" in short and "number 7" not in short and len(short) <= 2_100
    guide = write_request("Say the kind.", records, 2_000, [(("even", "odd"), 3)])
    assert '"even" was right and it said "odd": 3' in guide and "Say the kind." in guide


def test_a_child_must_be_ahead_by_a_standard_error() -> None:
    parent = [0.0, 1.0] * 8
    assert errors_ahead(parent, parent) == 0 and errors_ahead([1.0] * 16, [0.0] * 16) > 1e9
    assert errors_ahead([0.0] * 16, [1.0] * 16) < 0
    better = [1.0] * 4 + parent[4:]
    assert 1 < errors_ahead(better, parent) < 2
