"""What a command ends with (the next one, to paste), and colour: on terminals alone, none with NO_COLOR."""

from __future__ import annotations

import io
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from distill.job import Progress
from distill.progress import ticking
from optimizer.budget import Budget, Meter
from optimizer.calls import Total
from optimizer.progress import Watch
from optimizer.search import Progress as Searched
from optimizer.shell import found, near, pasted
from optimizer.spelled import duration, plural
from optimizer.summary import following, twice
from tests.fake import FakeEndpoint
from tests.test_optimize import ROOT, command, knows_with_demos, run
from tests.waiting import eventually

COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;\d+)*m")
BARS = """
import sys
from rich.console import Console
from optimizer.progress import Watch
from distill.progress import ticking
with Watch(Console(stderr=True, highlight=False)) as watch, ticking(watch, "answers") as ticker:
    for done in range(5):
        ticker.tick(done, 5)
    watch.say("[red]no markup[/red]")
"""


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


def test_colour_is_for_terminals_and_no_color_is_heeded(tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos) as fake:
        argv = command(fake, tmp_path, "--trials", "2", "--proposer", "none", "--layout", "chat")
        assert COLOUR.search(on_a_terminal(argv, tmp_path))
        plain = on_a_terminal(argv, tmp_path, NO_COLOR="1")
        piped = run(argv, tmp_path)
    assert "winner over seed" in plain and not COLOUR.search(plain)
    assert "\x1b" not in piped.stdout + piped.stderr


def test_distills_bars_and_serves_help_heed_no_color(tmp_path: Path) -> None:
    bars = [sys.executable, "-c", BARS]
    assert COLOUR.search(on_a_terminal(bars, tmp_path))
    plain = on_a_terminal(bars, tmp_path, NO_COLOR="1")
    assert "[red]no markup[/red]" in plain and not COLOUR.search(plain)
    for module in ("distill", "serving"):
        assert "\x1b" not in on_a_terminal([sys.executable, "-m", module, "--help"], tmp_path, NO_COLOR="1")


def test_vllm_colours_nothing(tmp_path: Path) -> None:
    from optimizer.engine import command as engine_command
    from optimizer.machine import this_machine
    from optimizer.models import Model

    _, environment = engine_command(Model("m", "org/m", None), 1, this_machine())
    assert environment["NO_COLOR"] == "1"


def test_lines_to_paste_are_quoted_and_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = Path(sys.executable).parent
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{ours}{os.pathsep}/usr/bin")
    assert pasted("optimize", "--show", Path("my prompts/best.json")) == "optimize --show 'my prompts/best.json'"
    (tmp_path / "serve").write_text("#!/bin/sh\n")
    (tmp_path / "serve").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{ours}")
    assert found("serve") == [str(ours / "serve")], "another program of that name stands first"
    monkeypatch.chdir(ours.parent)
    assert found("serve") == [f"{ours.name}/serve"]
    monkeypatch.setattr(sys, "executable", "/somewhere/bin/python")
    assert pasted("serve", "best.json") == "/somewhere/bin/python -m serving best.json"


def test_paths_below_the_working_directory_are_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert near(tmp_path / "runs" / "a") == "runs/a" and near(Path("/etc")) == "/etc" and near(Path("a")) == "a"


def test_what_follows_depends_on_where_the_model_is() -> None:
    serve, distil = following(Path("best.json"), None, "OPENAI_API_KEY")
    assert serve.startswith("serve it     ") and serve.endswith("serve best.json")
    assert distil.startswith("distil it    ") and distil.endswith("distill --from-prompt best.json")
    (only,) = following(Path("best.json"), "http://h/v1", "KEY")
    assert only.endswith("--from-prompt best.json --base-url http://h/v1 --api-key-env KEY --student smollm2-135m")
    assert twice(Path("runs/a b"), "--max-tokens 1000000").endswith("--resume 'runs/a b' --max-tokens 2000000")


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


def test_numbers_as_people_say_them() -> None:
    assert (plural(1, "layout"), plural(1200, "row")) == ("1 layout", "1,200 rows")
    assert (duration(12.3), duration(89.9), duration(150)) == ("12 s", "90 s", "2 min")


@pytest.mark.parametrize("module", ["optimizer", "distill", "serving"])
def test_a_wrong_option_names_the_program_as_it_was_called(module: str, tmp_path: Path) -> None:
    done = run([sys.executable, "-m", module, "--nonsense"], tmp_path)
    assert done.returncode == 2 and done.stderr.startswith(f"Usage: python -m {module} [OPTIONS]")
    assert f"Try 'python -m {module} --help' for help." in done.stderr


def test_a_training_tells_when_dev_is_scored_and_how_long_it_has_to_go() -> None:
    told = io.StringIO()
    with Watch(Console(file=told, width=100)) as watch, ticking(watch, "student") as ticker:
        ticker.follow(Progress(6, 12, 1, 0.5, 300, 40, scoring=True))
        ticker.follow(Progress(6, 12, 1, 0.5, 300, 60, dev=0.25))
        ticker.follow(Progress(12, 12, 2, 0.25, 300, 20, scoring=True))
    first, scored, second = told.getvalue().splitlines()
    assert "epoch 1: trained, scoring dev" in first and "left" not in first, "a reading of dev was not timed yet"
    assert "epoch 1: dev 25.0" in scored
    assert second.endswith("20 s left")


def test_a_resumed_search_tells_the_time_left_from_new_trials_alone() -> None:
    told = io.StringIO()
    with Watch(Console(file=told, width=100)) as watch:
        watch.meter = Meter(Budget(), {"task": Total(400)})
        watch.begin(16)
        watch.follow(Searched(8, 16, None, 176, 320))
        replayed = told.getvalue()
        watch.meter.pay("task", Total(80))
        watch.follow(Searched(12, 16, None, 240, 480))
    assert "trial 8/16" in replayed and "min left" not in replayed, "stored replies say nothing of the pace"
    assert "trial 12/16" in told.getvalue() and "min left" in told.getvalue()


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (Budget(), r" 62\.0 min left  "),
        (Budget(calls=100_000), r" 62\.0 min left  "),
        (Budget(calls=250), r"0\.5 min left \(--max-calls\)  "),
        (Budget(tokens=25_000), r"0\.5 min left \(--max-tokens\)  "),
        (Budget(usd=0.025, price=(1.0, 0.0)), r"0\.5 min left \(--max-usd\)  "),
        (Budget(minutes=1.0), r"0\.[23] min left \(--max-minutes\)  "),
    ],
)
def test_the_time_left_is_that_of_the_budget_which_ends_the_search_first(budget: Budget, said: str) -> None:
    told = io.StringIO()
    with Watch(Console(file=told, width=100)) as watch:
        watch.meter = Meter(budget, {}, held=50)
        watch.begin(1_000)
        watch.meter.pay("task", Total(100, 10_000))
        watch.searching = watch.meter.started = time.monotonic() - 30  # 0.3 s a call
        watch.follow(Searched(8, 1_000, None, 100, 320))
    assert re.search(said, told.getvalue()), told.getvalue()
