"""Runs one command, and ends it with all its descendants once the process that started the guard has ended.

    python -I guard.py GRACE_S COMMAND [ARGUMENT...]

Standard input is a pipe that the starter holds and never writes to. It closes when the starter ends, in whatever way
(`kill -9` included). The command then gets SIGTERM, and GRACE_S seconds to finish its work; what is left of its process
group gets SIGTERM, and after GROUP_GRACE_S SIGKILL. SIGTERM to the guard does the same; a second one ends the wait for
the command. Where the command ends by itself, its process group is ended too. The guard's exit code is the command's.

It is run by its path and imports nothing of this package, so that it works in any working directory and starts fast.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time

GROUP_GRACE_S = 5.0
POLL_S = 0.2
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def main(argv: list[str]) -> int:
    """Run the command of `argv` until it or the starter ends; its exit code, or 128 + n where signal n ended it."""
    terminated: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: terminated.append(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    child = subprocess.Popen(
        argv[1:],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        # Where the guard itself is killed, the command still gets SIGTERM.
        preexec_fn=lambda: _prctl(PR_SET_PDEATHSIG, signal.SIGTERM),  # noqa: PLW1509 (no threads here)
    )
    while not terminated and child.poll() is None and not _closed(sys.stdin.fileno()):
        pass
    _end_command(child, float(argv[0]), terminated)
    _end_group(child)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _closed(pipe: int) -> bool:
    """Whether the starter has closed the pipe; waits up to POLL_S for it."""
    readable, _, _ = select.select([pipe], [], [], POLL_S)
    return bool(readable) and not os.read(pipe, 4096)


def _end_command(child: subprocess.Popen[bytes], grace_s: float, terminated: list[int]) -> None:
    """End the command alone at first: a server needs its child processes to finish its work."""
    child.terminate()
    deadline = time.monotonic() + grace_s
    signals = len(terminated)
    while child.poll() is None and time.monotonic() < deadline and len(terminated) == signals:
        time.sleep(0.05)


def _end_group(child: subprocess.Popen[bytes]) -> None:
    for number, patience_s in ((signal.SIGTERM, GROUP_GRACE_S), (signal.SIGKILL, GROUP_GRACE_S)):
        if not _signal_group(child.pid, number):
            break
        deadline = time.monotonic() + patience_s
        while _group_lives(child) and time.monotonic() < deadline:
            time.sleep(0.05)
    child.wait()


def _group_lives(child: subprocess.Popen[bytes]) -> bool:
    child.poll()
    # Orphans of the group become children of the guard (subreaper); until it waits for them they look alive.
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-child.pid, os.WNOHANG)[0]:
            pass
    return _signal_group(child.pid, 0)


def _signal_group(group: int, number: int) -> bool:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
