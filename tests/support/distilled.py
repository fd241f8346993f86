"""A distillation as if a student had been trained, for tests of what is written and shown."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace

from distill.folder import DistilledFolder
from distill.folds import FinalPlan
from distill.plan import DistillPlan
from distill.result import Distillation, FinalStudent, TrainedStudent
from distill.settings import DistillSettings
from distill.teach.dataset import to_training_rows, write_dataset
from distill.teach.filter import from_labels
from distill.teach.reasons import Reason, Rejected
from distill.teach.teaching import FinalData, TeacherData
from distill.train.hyper import HyperParameters
from distill.train.job import TrainingResult
from distill.verdict.adapter_check import AdapterCheck
from distill.verdict.arms import Arm, Speed
from distill.verdict.retention import Retention
from distill.verdict.verdict import DistillVerdict, FinalTraining, TrainingCost, compare_arms
from optimizer.run.folder import RunFolder
from promptstill import exact_match
from promptstill.engine.models import Model
from promptstill.files import write_jsonl
from promptstill.prompt.artifact import read_artifact
from promptstill.prompt.layouts.bare import bare_prompt
from promptstill.scoring.rivals.measure import score_outputs
from promptstill.scoring.rivals.report import RivalResult, compare_rivals
from promptstill.stats import mean_interval
from promptstill.task.examples import Example
from promptstill.task.open import open_task
from tests.support.finished import HOSTILE

COST = TrainingCost(400, 3_000, 300.0, 300.0, "cpu", (0.9, 0.85))


def arm(right: float, tokens: float, per_s: float, n: int = 300, seed: int = 0) -> Arm:
    """An arm that is right on a share of rows; arms of one seed are right on nested sets of rows."""
    order = random.Random(seed).sample(range(n), n)
    scores = [0.0] * n
    for row in order[: round(right * n)]:
        scores[row] = 1.0
    groups = tuple(map(str, range(n)))
    return Arm(mean_interval(scores, 0), tuple(scores), groups, 0.0, tokens, 2.0, Speed(1 / per_s, per_s))


def arm_with_replies(right: float, tokens: float, per_s: float) -> Arm:
    """An arm of 40 rows with a hostile reply to each."""
    replies = tuple((f"reply {n} {HOSTILE}", None, False, "") for n in range(40))
    return replace(arm(right, tokens, per_s, n=40), replies=replies)


def sample_distillation(finished: RunFolder, folder: DistilledFolder) -> Distillation:
    """A distillation of the finished run, as if a student had been trained. Its dataset and adapter are in `folder`."""
    opened = open_task(str(finished.path / "recipe.py"))
    splits = opened.splits
    prompt, model = bare_prompt(opened.task), Model("fake", "fake", "5" * 64)
    rows, _ = to_training_rows(from_labels(splits.train), prompt)
    rejected = [Rejected(row, 0, HOSTILE, Reason("scored too low", "0 below 1")) for row in splits.train[:5]]
    sha256 = write_dataset(folder.path, rows, rejected)
    student = write_student(folder)
    arms = [arm_with_replies(*figures) for figures in ((0.1, 9, 40), (0.5, 90, 9), (0.9, 9, 40), (0.8, 9, 40))]
    best = read_artifact(finished.best_path)
    return Distillation(
        plan=DistillPlan(best, opened, prompt, prompt, model, prompt, model, splits.train, 2),
        settings=DistillSettings(from_prompt="best.json"),
        teacher_data=TeacherData(rows, sha256, 1.0, {"scored too low": 5}, prompt.id, 40, 9.0, {}, 8192),
        student=student,
        gold=student,
        verdict=with_rivals(compare_arms(arms[0], arms[1], arms[2], arms[3], COST, 1, 0), splits.test),
        adapter_check=AdapterCheck("live", 9, 0.0, 1.0, 1.0, 0.1),
        retention=Retention(9, 0.9, 0.9, {}, 0, 0),
        merged_difference=None,
    )


def cross_validated(result: Distillation, folder: DistilledFolder) -> Distillation:
    """The same as if its best.json were of a cross-validated run: another student, trained on all rows, is shipped."""
    rows, data = result.plan.rows, result.teacher_data
    folder.final_dir.mkdir()
    sha256 = write_dataset(folder.final_dir, data.rows, [])
    final = write_student(folder, "final", {"trained": "on all rows"})
    return replace(
        result,
        plan=replace(result.plan, final=FinalPlan(result.plan.teacher_prompt, rows, 120)),
        teacher_data=replace(data, final=FinalData(data.rows, sha256, 1.0, {"scored too low": 7}, "f" * 64)),
        verdict=replace(result.verdict, final=FinalTraining(120, len(data.rows), 2, 9.0)),
        final=FinalStudent(final, replace(result.adapter_check, tokens=11)),
    )


def with_rivals(verdict: DistillVerdict, rows: Sequence[Example]) -> DistillVerdict:
    """The verdict with one rival, which answers every row alike."""
    results = [score_outputs(row, {"code": "c0"}, exact_match("code")) for row in rows]
    rivals = compare_rivals(verdict.student.marks, {"nearest": RivalResult(results, {"k": 3})}, 0)
    return replace(verdict, rivals=rivals)


def write_student(folder: DistilledFolder, name: str = "student", content: object = None) -> TrainedStudent:
    """An adapter of files without weights, and the metrics of one epoch."""
    work_dir = folder.work_dir / name
    (work_dir / "adapter").mkdir(parents=True)
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        (work_dir / "adapter" / file).write_text(json.dumps(content or {}))
    steps = [{"step": n, "epoch": 1, "loss": 3.0 / n, "lr": 0.1, "tokens": n, "seconds": n} for n in range(1, 9)]
    write_jsonl(work_dir / "metrics.jsonl", [*steps, steps[-1] | {"dev": 0.75}])
    training = TrainingResult(1, [0.75], [1.0], 9, 9.0, 9, "cpu")
    return TrainedStudent(work_dir / "adapter", work_dir / "metrics.jsonl", HyperParameters(), training)
