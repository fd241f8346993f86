"""What a signal does to a command: its exit code, and that all tasks unwind."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from promptstill.command.exits import RESUME_ADVICE, exit_codes, run_async
from tests.support import ROOT


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_command_in_its_code(number: int, code: int) -> None:
    command = (
        "import click, os, signal, time\nfrom promptstill.command.exits import exit_codes\n"
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
        "import asyncio, os, signal\nfrom promptstill.command.exits import exit_codes, run_async\n"
        f"async def kill():\n    os.kill(os.getpid(), {signal.SIGTERM:d})\n"
        f"async def work():\n    try:\n        await {sender}\n    finally:\n        print('unwound')\n"
        "with exit_codes():\n    run_async(work())\n    print('went on')"
    )
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (143, "unwound\n", "")


def test_a_full_disk_advises_what_the_command_can_do(capsys: pytest.CaptureFixture[str]) -> None:
    for advice, told in (((), "give the command again"), ((RESUME_ADVICE,), "--resume")):
        with pytest.raises(SystemExit, match="1"), exit_codes(*advice):
            raise OSError(28, "No space left on device")
        assert told in capsys.readouterr().err


def test_work_runs_inside_a_running_loop_and_outside_the_main_thread() -> None:
    async def work() -> str:
        await asyncio.sleep(0)
        return "done"

    async def notebook() -> str:
        return run_async(work())

    assert asyncio.run(notebook()) == "done"
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: run_async(work())).result() == "done"


def test_an_interrupt_of_a_notebook_cancels_the_work() -> None:
    command = (
        "import asyncio, os, signal, threading\nfrom promptstill.command.exits import run_async\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "async def work():\n    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "    try:\n        await asyncio.sleep(60)\n    finally:\n        print('unwound')\n"
        "async def notebook():\n    run_async(work())\n"
        "try:\n    asyncio.new_event_loop().run_until_complete(notebook())\n"
        "except KeyboardInterrupt:\n    print('interrupted')"
    )
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "unwound\ninterrupted\n", done.stderr
