"""The guard: all processes of a command end with it, or with the process that started it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from promptstill.engine import guard as guards
from tests.support.waiting import eventually, lives

GUARD = Path(guards.__file__)

# A command whose grandchild outlives it; `{1}` may let it ignore SIGTERM.
TREE = "({1} sleep 300 & echo $$ $! > {0}.new; mv {0}.new {0}; wait) & wait"
IGNORE_TERM = "trap '' TERM;"


def read_pids(pids_path: Path) -> list[int]:
    assert eventually(pids_path.exists)
    return [int(pid) for pid in pids_path.read_text().split()]


def all_gone(pids: list[int]) -> bool:
    return not any(lives(pid) for pid in pids)


def guard_command(pids_path: Path, trap: str = "") -> list[str]:
    return [sys.executable, "-I", str(GUARD), "5", "bash", "-c", TREE.format(pids_path, trap)]


@pytest.mark.parametrize(("end", "trap"), [("eof", ""), ("eof", IGNORE_TERM), ("sigterm", "")])
def test_the_guard_ends_the_whole_tree(tmp_path: Path, end: str, trap: str) -> None:
    guard = subprocess.Popen(guard_command(tmp_path / "pids", trap), stdin=subprocess.PIPE, start_new_session=True)
    assert guard.stdin is not None
    with guard:
        pids = read_pids(tmp_path / "pids")
        guard.send_signal(signal.SIGINT)  # the terminal's Ctrl-C is the command's to handle
        assert guard.poll() is None
        if end == "eof":
            guard.stdin.close()
        else:
            guard.send_signal(signal.SIGTERM)
        assert guard.wait(20) != 0
    assert eventually(lambda: all_gone(pids))


def test_the_tree_ends_when_its_starter_is_killed(tmp_path: Path) -> None:
    code = (
        "import subprocess as s,sys,time; s.Popen(sys.argv[1:], stdin=s.PIPE, start_new_session=True); time.sleep(300)"
    )
    with subprocess.Popen([sys.executable, "-c", code, *guard_command(tmp_path / "pids")]) as starter:
        pids = read_pids(tmp_path / "pids")
        starter.kill()
    assert eventually(lambda: all_gone(pids))


# A command that takes {1} seconds to finish once it is told to stop.
FINISHING = "trap 'sleep {1}; echo finished > {0}.end; exit 0' TERM; echo $$ $$ > {0}.new; mv {0}.new {0}; {2}"
WAITING = "while true; do sleep 0.05; done"


@pytest.mark.parametrize(("takes_s", "signals", "finished"), [(0.7, 1, True), (90, 2, False)])
def test_a_command_told_to_stop_may_finish(tmp_path: Path, takes_s: float, signals: int, finished: bool) -> None:
    path = tmp_path / "pids"
    command = [sys.executable, "-I", str(GUARD), "90", "bash", "-c", FINISHING.format(path, takes_s, WAITING)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as guard:
        read_pids(path)
        for _ in range(signals):
            guard.send_signal(signal.SIGTERM)
            time.sleep(0.3)
        assert (guard.wait(20) == 0) is finished
    assert (tmp_path / "pids.end").exists() is finished


def test_the_guard_passes_on_the_exit_code() -> None:
    command = [sys.executable, "-I", str(GUARD), "5", "bash", "-c", "sleep 300 & exit 3"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as guard:
        assert guard.wait(20) == 3
