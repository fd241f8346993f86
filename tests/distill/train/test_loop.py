"""Training on a tiny model: it learns, reports, stops by the task metric, and is the same on two processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from distill.train.encode import EncodedExample
from distill.train.hyper import best_epoch
from distill.train.job import TrainingJob, TrainingProgress
from distill.train.logprobs import target_losses
from distill.train.loop import TrainingLoop, train
from distill.train.weights import attach, load_base
from promptstill.engine.models import Model
from promptstill.errors import UserError
from tests.support import ROOT, tiny

CPU = torch.device("cpu")


def test_training_raises_the_task_metric(whole: tiny.Training, base: Model) -> None:
    trained, folder, _ = whole
    fresh = tiny.job(base, folder / "fresh")
    assert fresh.dev
    before = TrainingLoop(fresh, print).score_dev(fresh.dev)[0]
    assert before < 0.2 and max(trained.dev_scores) > 0.9
    assert trained.losses[-1] < trained.losses[0] / 4
    assert trained.epoch == best_epoch(trained.dev_scores)
    assert trained.tokens == 4 * sum(row.length for row in tiny.job(base, folder).rows) and trained.peak_bytes > 1e7


def test_every_update_is_in_the_reports_and_in_the_metrics(whole: tiny.Training) -> None:
    trained, folder, reports = whole
    steps = [one for one in reports if one.dev is None]
    assert [one.step for one in steps] == list(range(1, 49)) and {one.steps for one in reports} == {48}
    assert [one.dev for one in reports if one.dev is not None] == trained.dev_scores
    assert [one.step for one in reports if one.scoring] == [12, 24, 36, 48]
    assert all(one.seconds_left > 0 for one in reports[:-1]) and reports[-1].seconds_left == 0
    lines = [json.loads(line) for line in (folder / "work" / "metrics.jsonl").read_text().splitlines()]
    assert [line["dev"] for line in lines if "dev" in line] == trained.dev_scores
    assert len(lines) == 48 + len(trained.dev_scores)


def test_the_adapters_files_name_the_base_and_no_path(whole: tiny.Training) -> None:
    _, folder, _ = whole
    assert sorted(path.name for path in (folder / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    text = (folder / "adapter" / "adapter_config.json").read_text()
    assert json.loads(text)["base_model_name_or_path"] == "tiny" and str(folder.parent) not in text


def test_the_loss_is_that_of_completion_and_stop_token_alone(base: Model, tmp_path: Path) -> None:
    rows = tiny.job(base, tmp_path).rows[:5]
    model = load_base(base, "fp32", CPU)
    expected = []
    for row in rows:
        ids = torch.tensor([row.ids])
        labels = ids.clone()
        labels[0, : len(row.prompt)] = -100
        expected.append(float(model(input_ids=ids, labels=labels).loss) * len(row.completion))
    losses = torch.split(target_losses(model, rows, CPU), [len(row.completion) for row in rows])
    assert [float(part.sum()) for part in losses] == pytest.approx(expected, rel=1e-4)


def with_score(job: TrainingJob, score: Callable[[list[str]], float]) -> TrainingJob:
    assert job.dev
    return replace(job, dev=replace(job.dev, score=score))


def test_epochs_without_a_better_dev_score_end_it_and_the_earlier_of_equals_is_kept(
    base: Model, tmp_path: Path
) -> None:
    scores = iter([0.2, 0.6, 0.6, 0.5, 0.9])
    job = with_score(tiny.job(base, tmp_path / "work", replace(tiny.HYPER, epochs=5)), lambda texts: next(scores))
    trained = train(job, tmp_path / "adapter", lambda progress: None)
    assert trained.dev_scores == [0.2, 0.6, 0.6, 0.5] and trained.epoch == 2
    two = with_score(tiny.job(base, tmp_path / "two", replace(tiny.HYPER, epochs=5)), lambda texts: 0.5)
    stopped = train(two, tmp_path / "other", lambda progress: None, keep_going=lambda epoch, score: epoch < 2)
    assert stopped.dev_scores == [0.5, 0.5] and stopped.epoch == 1


def test_without_dev_rows_it_takes_the_same_updates_and_keeps_the_last_epoch(base: Model, tmp_path: Path) -> None:
    job = tiny.job(base, tmp_path / "scored")
    scored = train(job, tmp_path / "one", lambda progress: None, keep_going=lambda epoch, score: epoch < 2)
    reports: list[TrainingProgress] = []
    alone = replace(job, dev=None, last_epoch=2, work_dir=tmp_path / "alone")
    trained = train(alone, tmp_path / "two", reports.append)
    assert trained.epoch == 2 and trained.dev_scores == [] and trained.losses == pytest.approx(scored.losses)
    assert scored.epoch == 2 and tiny.same_adapter(tmp_path / "one", tmp_path / "two")
    assert [one.step for one in reports] == list(range(1, 25)) and {one.steps for one in reports} == {24}
    assert not any(one.scoring for one in reports) and reports[-1].seconds_left == 0


def test_an_interrupted_training_without_dev_rows_goes_on_to_the_same_adapter(base: Model, tmp_path: Path) -> None:
    job = replace(tiny.job(base, tmp_path / "a"), dev=None, last_epoch=2)
    train(job, tmp_path / "one", lambda progress: None)

    def die(progress: TrainingProgress) -> None:
        if progress.step == 15:
            raise KeyboardInterrupt

    again = replace(job, work_dir=tmp_path / "b")
    with pytest.raises(KeyboardInterrupt):
        train(again, tmp_path / "two", die, checkpoint_every_s=0.0)
    reports: list[TrainingProgress] = []
    trained = train(again, tmp_path / "two", reports.append)
    assert reports[0].step == 15 and trained.epoch == 2
    assert tiny.same_adapter(tmp_path / "one", tmp_path / "two")
    with pytest.raises(UserError, match="is of another training"):
        train(replace(again, last_epoch=1), tmp_path / "two", print)


TWO = """
import sys
from pathlib import Path
from tests.support import tiny
from distill.train.loop import train
from promptstill.engine.models import Model
from promptstill.errors import UserError
base, folder = Model("tiny", sys.argv[1], "0" * 64), Path(sys.argv[2])
print(train(tiny.job(base, folder / "work"), folder / "adapter", lambda progress: None).dev_scores)
"""


def test_two_processes_make_the_same_adapter_as_one(whole: tiny.Training, base: Model, tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(TWO)
    # What `accelerate launch` does on GPUs. On CPUs it starts several processes only through MPI.
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    where = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"}
    done = run_with(where, [*launch, str(script), base.path, str(tmp_path)])
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count(str(whole[0].dev_scores)) == 2
    # within more than rounding: sums of another order, in 48 updates
    assert tiny.same_adapter(tmp_path / "adapter", whole[1] / "adapter", within=1e-3)
    steps = [json.loads(line) for line in (tmp_path / "work" / "metrics.jsonl").read_text().splitlines()]
    assert len([line for line in steps if "dev" not in line]) == 48


def run_with(extra: dict[str, str], argv: list[str]) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(argv, check=False, capture_output=True, text=True, env={**os.environ, **extra}, timeout=300)


def test_a_row_without_neighbours_in_length_trains_alone(base: Model) -> None:
    model = attach(load_base(base, "fp32", CPU), tiny.HYPER)
    long = EncodedExample("long", tuple([5] * 200), (6, 7))
    assert target_losses(model, [long, EncodedExample("short", (5,), (6,))], CPU).shape == (3,)
