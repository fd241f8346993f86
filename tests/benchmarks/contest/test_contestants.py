"""A contestant's process: the best program so far, its points at the caps, its last error."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.contest import arena
from benchmarks.contest.contestants import Candidate, ProcessEnd, argv, best_so_far, last_error, points
from benchmarks.contest.proxy import Account, Spending
from benchmarks.contest.tasks import ROOT


def candidate(name: str, dev: float, rows: int, calls: int) -> Candidate:
    return Candidate({"kind": "dspy", "state": name}, dev, rows, calls)


START = [candidate("start", 0.0, 0, 0), candidate("first", 0.4, 20, 50)]


@pytest.mark.parametrize("module", sorted({module for module, _ in arena.PEERS.values()}))
def test_the_command_of_a_peer_names_a_module(module: str) -> None:
    command = argv(module, "search", Path("job.json"))
    assert (ROOT / command[2].replace(".", "/")).with_suffix(".py").is_file()


def test_the_best_so_far_is_scored_on_enough_rows_within_the_calls() -> None:
    found = [
        candidate("start", 0.0, 0, 0),
        candidate("few", 1.0, 3, 10),
        candidate("first", 0.4, 20, 50),
        candidate("lucky", 0.9, 35, 90),
        candidate("lucky", 0.3, 100, 200),
        candidate("late", 0.8, 100, 400),
    ]
    names = {calls: (best := best_so_far(found, calls)) and best.program["state"] for calls in (20, 60, 100, 300, 500)}
    assert names == {20: "start", 60: "first", 100: "lucky", 300: "first", 500: "late"}
    assert best_so_far([], 100) is None


def test_a_peers_last_error_is_not_code_that_the_model_wrote(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("dspy.AdapterParseError: no JSON\n\nLM Response: \nclass OddError(Exception):\n    pass\n\n")
    assert last_error(log, 1) == "dspy.AdapterParseError: no JSON"
    log.write_text("it ended\n\n")
    assert last_error(log, 1) == "it ended"
    log.write_text("")
    assert last_error(log, 7) == "exit code 7"


RETURNED = {"kind": "dspy", "state": "returned"}


def test_what_a_peer_returned_counts_from_the_cap_by_which_it_had_ended() -> None:
    account = Account(marks=(100,), spent=Spending(150, 9, 9, 3.0), at_marks={100: Spending(100, 6, 6, 2.0)})
    early, late = points(account, (100, 200), START, RETURNED, ProcessEnd(None, None))
    assert early.program is not None and early.program["state"] == "first" and early.calls == 100
    assert late.program == RETURNED and late.calls == 150 and late.dev == 0.4
    assert (early.ended, late.ended) == ("calls", "itself")
    account.refused = 1
    (refused,) = points(account, (200,), START, RETURNED, ProcessEnd("the cap", None))
    assert refused.ended == "calls" and refused.program != RETURNED, "a refused call must not become a result"


@pytest.mark.parametrize(
    ("end", "late"),
    [(ProcessEnd("the time limit of 9 s", None), "clock"), (ProcessEnd(None, "ValueError: no"), "error")],
)
def test_what_the_clock_or_an_error_ended_holds_at_the_caps_that_calls_had_reached(end: ProcessEnd, late: str) -> None:
    account = Account(marks=(100,), spent=Spending(150, 9, 9, 3.0), at_marks={100: Spending(100, 6, 6, 2.0)})
    assert [one.ended for one in points(account, (100, 200), START, None, end)] == ["calls", late]
