"""What a signal does to our own commands: their exit codes, and all tasks unwound."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_command_in_its_code(number: int, code: int) -> None:
    command = (
        "import click, os, signal, time\nfrom optimizer.exits import exit_codes\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin without it\n"
        "@click.command()\ndef work():\n"
        f"    os.kill(os.getpid(), {number:d})\n    time.sleep(9)\nwith exit_codes():\n    work(standalone_mode=False)"
    )
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == code and "Traceback" not in done.stderr


@pytest.mark.parametrize("sender", ["asyncio.gather(asyncio.sleep(9), kill())", "kill()"])
def test_a_signal_inside_a_task_unwinds_all_of_them_and_is_never_lost(sender: str) -> None:
    command = (
        "import asyncio, os, signal\nfrom optimizer.exits import exit_codes, run_async\n"
        f"async def kill():\n    os.kill(os.getpid(), {signal.SIGTERM:d})\n"
        f"async def work():\n    try:\n        await {sender}\n    finally:\n        print('unwound')\n"
        "with exit_codes():\n    run_async(work())\n    print('went on')"
    )
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (143, "unwound\n", "")
