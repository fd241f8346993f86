"""`--vllm-args` reaches the engine, and is kept: with the run for --resume, in best.json for --gate and --measure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving.fake_vllm import ANSWERS_VARIABLE
from tests.support.codes import RECIPE, best, run

ARGS = "--max-num-seqs 16"


@pytest.fixture
def optimize(fake_vllm: Path, tmp_path: Path) -> Optimize:
    (tmp_path / "codes.py").write_text(RECIPE)
    return Optimize(fake_vllm, tmp_path)


class Optimize:
    """The command in a folder of its own, with a small server in vLLM's place."""

    def __init__(self, model: Path, folder: Path) -> None:
        self.model, self.folder = model, folder

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PYTHONPATH": os.environ["PYTHONPATH"],
            ANSWERS_VARIABLE: "tests.support.codes:knows_with_demos",
            "PROMPTSTILL_CACHE": str(self.folder / "cache"),
        }
        done = run([sys.executable, "-m", "optimizer", *words], self.folder, **environment)
        assert "Traceback" not in done.stderr
        return done

    def started(self, log: str) -> list[str]:
        """The commands in the logs of this name, each of an engine that was started."""
        texts = [path.read_text() for path in sorted(self.folder.rglob(log))]
        return [line for text in texts for line in text.splitlines() if line.startswith("--- ")]


def test_the_same_engine_is_started_by_resume_gate_and_measure(optimize: Optimize) -> None:
    search = ("--model", str(optimize.model), "--trials", "8", "--no-dspy", "--no-rivals", "--proposer", "none")
    done = optimize("codes.py", *search, "--vllm-args", ARGS, "--max-calls", "400")
    assert done.returncode == 0, done.stderr
    record = json.loads(next(optimize.folder.glob("runs/*/run.json")).read_text())
    assert record["settings"]["vllm_args"] == ARGS == best(optimize.folder)["model"]["vllm_args"]
    assert [line.endswith(f" {ARGS}") for line in optimize.started("engine-0.log")] == [True]

    path = str(next(optimize.folder.glob("runs/*")))
    done = optimize("--resume", path, "--vllm-args", "--max-num-seqs 8")
    assert done.returncode == 2 and "--vllm-args" in done.stderr + done.stdout
    assert optimize("--resume", path, "--max-calls", "500").returncode == 0
    assert [line.endswith(f" {ARGS}") for line in optimize.started("engine-0.log")] == [True, True]

    assert optimize("--gate", "best.json").returncode == 0
    assert [line.endswith(f" {ARGS}") for line in optimize.started("gate.log")] == [True]
    measure = ("codes.py", "--measure", "best.json", "--model", str(optimize.model), "--no-rivals")
    assert optimize(*measure, "--runs", "measured").returncode == 0
    assert ARGS in next(optimize.folder.glob("measured/*/logs/engine-0.log")).read_text()


def test_a_gate_starts_no_engine_with_arguments_that_a_file_may_not_ask_for(
    optimize: Optimize, finished_best: Path
) -> None:
    done = optimize("--gate", str(finished_best))
    assert done.returncode == 2 and "--middleware evil.App" in done.stderr
    assert not optimize.started("gate.log")


@pytest.fixture
def finished_best(optimize: Optimize) -> Path:
    from tests.support.finished import finish_run

    work = optimize.folder / "finished"
    work.mkdir()
    path = finish_run(work).work / "best.json"
    value = json.loads(path.read_text())
    value["model"] = {"name": str(optimize.model), "sha256": None, "vllm_args": "--middleware evil.App"}
    path.write_text(json.dumps(value))
    return path


def test_what_is_refused_is_refused_before_there_is_a_run(optimize: Optimize) -> None:
    done = optimize("codes.py", "--model", str(optimize.model), "--vllm-args", "--port 1")
    assert done.returncode == 2 and "--port in --vllm-args is refused." in done.stderr
    done = optimize("codes.py", "--base-url", "http://127.0.0.1:9/v1", "--vllm-args", ARGS)
    assert done.returncode == 2 and "--vllm-args is for a vLLM that is started here." in done.stderr
    assert not (optimize.folder / "runs").exists()
