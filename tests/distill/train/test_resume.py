"""A training that was interrupted goes on to the same adapter; a finished or foreign one is not repeated."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from distill.train import checkpoint
from distill.train.job import TrainingProgress
from distill.train.loop import train
from promptstill.engine.models import Model
from promptstill.errors import UserError
from tests.support import tiny

SCRIPT = """
import os, signal, sys
from pathlib import Path
from tests.support import tiny
from distill.train.loop import train
from promptstill.engine.models import Model
base, folder, die_at = Model("tiny", sys.argv[1], "0" * 64), Path(sys.argv[2]), int(sys.argv[3])
import torch
torch.set_num_threads(1)
def report(progress):
    if progress.step == die_at:
        os.kill(os.getpid(), signal.SIGKILL)
print(train(tiny.job(base, folder / "work"), folder / "adapter", report, checkpoint_every_s=0.0).dev_scores)
"""


def test_a_killed_training_goes_on_to_the_same_adapter(whole: tiny.Training, base: Model, tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", SCRIPT, base.path, str(tmp_path), "30"], check=False)
    assert killed.returncode == -signal.SIGKILL and not (tmp_path / "adapter").exists()
    (tmp_path / "work" / ".checkpoint.pt-half").write_bytes(b"half")  # what a kill while writing leaves
    reports: list[TrainingProgress] = []
    trained = train(tiny.job(base, tmp_path / "work"), tmp_path / "adapter", reports.append)
    assert reports[0].step == 30, "the checkpoint of update 29 is the last before the kill at 30"
    assert trained.dev_scores == whole[0].dev_scores and trained.tokens == whole[0].tokens
    assert trained.losses == pytest.approx(whole[0].losses, rel=1e-4)
    assert tiny.same_adapter(tmp_path / "adapter", whole[1] / "adapter")
    lines = [json.loads(line) for line in (tmp_path / "work" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "dev" not in line] == list(range(1, 49))


def test_a_finished_training_is_not_repeated(whole: tiny.Training, base: Model) -> None:
    trained, folder, _ = whole
    reports: list[TrainingProgress] = []
    again = train(tiny.job(base, folder / "work"), folder / "again", reports.append)
    assert reports == [] and again.dev_scores == trained.dev_scores
    assert tiny.same_adapter(folder / "again", folder / "adapter")
    configs = [(folder / name / "adapter_config.json").read_text() for name in ("again", "adapter")]
    assert configs[0] == configs[1]


def test_a_checkpoint_of_other_settings_is_refused(whole: tiny.Training, base: Model, tmp_path: Path) -> None:
    work = whole[1] / "work"
    with pytest.raises(UserError) as caught:
        train(tiny.job(base, work, replace(tiny.HYPER, lr=1e-3)), tmp_path / "adapter", print)
    assert str(caught.value) == (
        f"{work / 'checkpoint.pt'} is of another training.\n"
        "Its rows, base model or hyper-parameters differ from those given now.\n"
        "Remove it to train anew, or give the settings that it was made with."
    )


def test_dropout_too_is_the_same_after_a_resume(base: Model, tmp_path: Path) -> None:
    hyper = replace(tiny.HYPER, epochs=2, dropout=0.2)
    train(tiny.job(base, tmp_path / "a", hyper), tmp_path / "one", lambda progress: None)

    def die(progress: TrainingProgress) -> None:
        if progress.step == 15:
            raise KeyboardInterrupt

    job = tiny.job(base, tmp_path / "b", hyper)
    with pytest.raises(KeyboardInterrupt):
        train(job, tmp_path / "two", die, checkpoint_every_s=0.0)
    train(job, tmp_path / "two", lambda progress: None)
    assert tiny.same_adapter(tmp_path / "one", tmp_path / "two")


def test_an_epoch_scored_twice_is_recorded_once(base: Model, tmp_path: Path) -> None:
    """A kill between an epoch's score and its checkpoint repeats the score, not the epoch."""

    def die(progress: TrainingProgress) -> None:
        if progress.dev is not None:
            raise KeyboardInterrupt

    job = tiny.job(base, tmp_path / "work", replace(tiny.HYPER, epochs=2))
    with pytest.raises(KeyboardInterrupt):
        train(job, tmp_path / "adapter", die)
    reports: list[TrainingProgress] = []
    trained = train(job, tmp_path / "adapter", reports.append)
    assert reports[0].dev == trained.dev_scores[0] and reports[0].step == 12
    lines = [json.loads(line) for line in (tmp_path / "work" / "metrics.jsonl").read_text().splitlines()]
    assert [line["dev"] for line in lines if "dev" in line] == trained.dev_scores and len(lines) == 26


def test_an_unreadable_metrics_line_is_dropped_on_resume(base: Model, tmp_path: Path) -> None:
    job = tiny.job(base, tmp_path / "work", replace(tiny.HYPER, epochs=1))
    train(job, tmp_path / "adapter", lambda progress: None)
    path = tmp_path / "work" / "metrics.jsonl"
    before = path.read_text()
    path.write_text(before + '{"step": 99, "lo')
    train(job, tmp_path / "adapter", lambda progress: None)
    assert path.read_text() == before


def test_a_checkpoint_holds_what_it_says(base: Model, tmp_path: Path) -> None:
    job = tiny.job(base, tmp_path / "work", replace(tiny.HYPER, epochs=1))
    train(job, tmp_path / "adapter", lambda progress: None)
    found = checkpoint.load_checkpoint(tmp_path / "work", job.fingerprint)
    assert found is not None and found.position.ended and found.position.epoch == 1
    assert found.best is not None and found.best.keys() == found.adapter.keys()
    assert checkpoint.load_checkpoint(tmp_path, job.fingerprint) is None
