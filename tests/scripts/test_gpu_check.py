"""The check of a GPU: the commands that it would run, and what its table says of commands that pass, fail and hang."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from distill.cli import distill
from optimizer.cli import optimize
from tests.support import ROOT

SCRIPT = ROOT / "scripts" / "gpu_check.sh"
CARD = "0, NVIDIA L4, 580.82.07, 23034 MiB"


def stub(folder: Path, name: str, body: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def bin_dir(tmp_path: Path) -> Path:
    """Commands that pass, in the place of .venv/bin."""
    folder = tmp_path / "bin"
    for name in ("optimize", "distill", "python"):
        stub(folder, name, f'echo "{name} ran"')
    return folder


def check(bin_dir: Path, *words: str, gpu: bool = False, limit_s: int = 30) -> subprocess.CompletedProcess[str]:
    driver = bin_dir.parent / "driver"
    stub(driver, "nvidia-smi", f"echo '{CARD}'" if gpu else "exit 9")
    environment = {
        **os.environ,
        "PATH": f"{driver}{os.pathsep}{os.environ['PATH']}",
        "BIN": str(bin_dir),
        "OUT": str(bin_dir.parent / "out"),
        "LIMIT_S": str(limit_s),
    }
    return subprocess.run(
        ["bash", str(SCRIPT), *words], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def results(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    lines = re.findall(r"^(optimize|distill|serve) +(.+?)(?: +\d+ s)?$", done.stdout, re.M)
    return {name: result.strip() for name, result in lines}


def test_a_dry_run_prints_commands_that_exist(bin_dir: Path, tmp_path: Path) -> None:
    done = check(bin_dir, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "no NVIDIA GPU here" in done.stdout and not (tmp_path / "out").exists()
    search, student, serve = map(shlex.split, re.split(r"^timeout 30 ", done.stdout, flags=re.M)[1:])
    assert Path(search[0]).name == "optimize" and Path(student[0]).name == "distill"
    asked = optimize.make_context("optimize", search[1:]).params
    assert asked["trials"] == 8 and asked["targets"] == ("recipes/qa.py",)
    taught = distill.make_context("distill", student[1:]).params
    assert taught["from_prompt"] == asked["output"] and taught["epochs"] == 1
    assert serve[1] == "-m" and find_spec(serve[2])
    assert [Path(path) for path in serve[3:]] == [asked["output"], taught["output"]]


def test_everything_passes(bin_dir: Path) -> None:
    done = check(bin_dir, gpu=True)
    assert done.returncode == 0, done.stderr
    assert results(done) == dict.fromkeys(("optimize", "distill", "serve"), "passed")
    assert f"GPU {CARD}" in done.stdout


def test_what_fails_is_shown_and_ends_it(bin_dir: Path) -> None:
    stub(bin_dir, "distill", 'echo "no memory" >&2; exit 1')
    done = check(bin_dir, gpu=True)
    assert done.returncode == 1 and "no memory" in done.stdout
    assert results(done) == {"optimize": "passed", "distill": "failed (1)", "serve": "not begun"}


@pytest.mark.parametrize(("gpu", "code"), [(True, 1), (False, 0)])
def test_time_that_runs_out_is_a_failure_on_a_gpu_alone(bin_dir: Path, gpu: bool, code: int) -> None:
    stub(bin_dir, "distill", "exec sleep 20")
    done = check(bin_dir, gpu=gpu, limit_s=2)
    assert done.returncode == code
    assert results(done) == {"optimize": "passed", "distill": "out of time", "serve": "not begun"}
    assert ("what is listed as passed ran" in done.stdout) is not gpu


def test_other_words_are_refused(bin_dir: Path) -> None:
    assert check(bin_dir, "--fast").returncode == 2
