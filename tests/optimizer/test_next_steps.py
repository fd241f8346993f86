"""What a command ends with (the next one, to paste), and colour: on terminals alone, none with NO_COLOR."""

from __future__ import annotations

import os
import pty
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from optimizer import SearchSettings
from optimizer.command.summary import double_limit, evaluated_line, follow_up_commands
from promptstill.endpoint.allowance import Limit
from tests.support import ROOT
from tests.support.codes import command, knows_with_demos, run
from tests.support.fake import FakeEndpoint
from tests.support.finished import FinishedRun
from tests.support.waiting import eventually

COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;\d+)*m")
BARS = """
import sys
from rich.console import Console
from promptstill.command.listeners import terminal_listener
from promptstill.events import Message, StepProgress, StepStarted
with terminal_listener(Console(stderr=True, highlight=False)) as listener:
    listener(StepStarted("answers", 5))
    for done in range(5):
        listener(StepProgress("answers", done, 5))
    listener(Message("[red]no markup[/red]"))
"""


def test_what_racing_saved_is_said_where_it_saved_something() -> None:
    assert evaluated_line(8, 1024, 2048, stopped=False) == (
        "8 trials evaluated 1,024 of 2,048 dev rows (50%); racing saved the rest"
    )
    assert evaluated_line(8, 90, 96, stopped=True).endswith("(94%); racing and the limit saved the rest")
    assert evaluated_line(8, 96, 96, stopped=True) == "8 trials evaluated 96 of 96 dev rows (100%)"


def on_a_terminal(argv: list[str], folder: Path, **environment: str) -> str:
    """What the command writes when standard output and error are a terminal of 100 columns."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": "100"}
    env = {name: value for name, value in env.items() if name not in ("NO_COLOR", "FORCE_COLOR")} | environment
    ours, theirs = pty.openpty()
    process = subprocess.Popen(argv, cwd=folder, env=env, stdout=theirs, stderr=theirs)
    os.close(theirs)
    written = b""
    try:
        while chunk := os.read(ours, 65536):
            written += chunk
    except OSError:  # a terminal whose last writer has gone
        pass
    os.close(ours)
    assert process.wait(300) == 0, written.decode()
    return written.decode()


def test_colour_is_for_terminals_and_no_color_is_heeded(finished: FinishedRun, tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos) as fake:
        argv = command(fake, tmp_path, "--trials", "2", "--proposer", "none", "--layout", "chat")
        assert COLOUR.search(on_a_terminal(argv, tmp_path))
        plain = on_a_terminal(argv, tmp_path, NO_COLOR="1")
    piped = finished.done
    assert "winner over baseline" in plain and not COLOUR.search(plain)
    assert "\x1b" not in piped.stdout + piped.stderr


def test_distills_bars_and_serves_help_heed_no_color(tmp_path: Path) -> None:
    bars = [sys.executable, "-c", BARS]
    assert COLOUR.search(on_a_terminal(bars, tmp_path))
    plain = on_a_terminal(bars, tmp_path, NO_COLOR="1")
    assert "[red]no markup[/red]" in plain and not COLOUR.search(plain)
    for module in ("distill", "serving"):
        assert "\x1b" not in on_a_terminal([sys.executable, "-m", module, "--help"], tmp_path, NO_COLOR="1")


def test_what_follows_depends_on_where_the_model_is() -> None:
    serve, distil = follow_up_commands(Path("best.json"), SearchSettings(recipe="r.py"))
    assert serve.startswith("serve it     ") and serve.endswith("serve best.json")
    assert distil.startswith("distil it    ") and distil.endswith("distill --from-prompt best.json")
    remote = SearchSettings(recipe="r.py", base_url="http://h/v1", api_key_env="KEY")
    (only,) = follow_up_commands(Path("best.json"), remote)
    assert only.endswith("--from-prompt best.json --base-url http://h/v1 --api-key-env KEY --student smollm2-135m")
    _, judged = follow_up_commands(Path("best.json"), SearchSettings(recipe="r.py", judge="a@http://h/v1"))
    assert judged.endswith("distill --from-prompt best.json --judge a@http://h/v1"), "it takes no other judge's marks"
    both = replace(remote, judge="anthropic/a", judge_key_env="MINE")
    (judged,) = follow_up_commands(Path("best.json"), both)
    assert judged.endswith("KEY --judge anthropic/a --api-key-env judge=MINE --student smollm2-135m")
    doubled = double_limit(Path("runs/a b"), Limit("tokens", 1_000_000))
    assert doubled.endswith("--resume 'runs/a b' --max-tokens 2000000")


def test_a_run_in_a_folder_with_a_space_ends_with_commands_that_work(tmp_path: Path) -> None:
    folder = tmp_path / "my work"
    folder.mkdir()
    with FakeEndpoint(knows_with_demos) as fake:
        extra = ("--trials", "2", "--proposer", "none", "--layout", "chat", "-o", "best one.json", "--runs", "my runs")
        argv = command(fake, folder, *extra)
        checked = run([*argv, "--check"], folder)
        assert checked.returncode == 0 and "the recipe codes is in order" in checked.stdout
        again = checked.stdout.splitlines()[-1].removeprefix("next: ")
        done = run(shlex.split(again), folder)
    assert done.returncode == 0, done.stderr
    said = {line[:13].rstrip(): line[13:] for line in done.stdout.splitlines() if line[11:13] == "  "}
    assert said["best prompt"] == "best one.json" and (folder / said["look at it"]).is_file()
    assert said["run folder"].startswith("my runs/codes-")
    shown = run(shlex.split(said["read it"]), folder)
    assert shown.returncode == 0 and shown.stdout.startswith("**layout** chat")
    assert f"--from-prompt 'best one.json' --base-url {fake.base_url} --student smollm2-135m" in said["distil it"]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C reaches what a test starts, even where the tests run in a shell's background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_says_how_it_goes_on(number: int, code: int, tmp_path: Path) -> None:
    folder = tmp_path / "my work"
    folder.mkdir()
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with FakeEndpoint(knows_with_demos) as fake:
        fake.delay_s = 0.2
        argv = command(fake, folder, "--runs", "my runs", "--window", "4")
        with subprocess.Popen(argv, cwd=folder, env=env, stderr=subprocess.PIPE, text=True) as process:
            try:
                assert eventually(lambda: bool(fake.calls), 300)
                process.send_signal(number)
                _, err = process.communicate(timeout=300)
            finally:
                process.kill()
    (run_folder,) = (folder / "my runs").iterdir()
    assert process.returncode == code and "Traceback" not in err
    assert err.rstrip().endswith(f"optimize --resume 'my runs/{run_folder.name}'"), err


@pytest.mark.parametrize("module", ["optimizer", "distill", "serving"])
def test_a_wrong_option_names_the_program_as_it_was_called(module: str, tmp_path: Path) -> None:
    done = run([sys.executable, "-m", module, "--nonsense"], tmp_path)
    assert done.returncode == 2 and done.stderr.startswith(f"Usage: python -m {module} [OPTIONS]")
    assert f"Try 'python -m {module} --help' for help." in done.stderr
