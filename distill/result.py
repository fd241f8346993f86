"""The result of a distillation, and train.json: the record of its training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from distill.folder import ADAPTER_FILES
from distill.plan import DistillPlan
from distill.settings import DistillSettings
from distill.teach.teaching import TeacherData
from distill.train.hyper import HyperParameters
from distill.train.job import TrainingResult
from distill.verdict.adapter_check import AdapterCheck
from distill.verdict.retention import Retention
from distill.verdict.verdict import DistillVerdict
from promptstill.files import file_digest
from promptstill.prompt.artifact import SCHEMA_VERSION


@dataclass(frozen=True)
class TrainedStudent:
    """A trained student: its adapter, the metrics of its training, and the training's result."""

    adapter_dir: Path
    metrics_path: Path
    hyper: HyperParameters
    training: TrainingResult

    @property
    def sha256(self) -> str:
        return file_digest(self.adapter_dir / ADAPTER_FILES[1])


@dataclass(frozen=True)
class Distillation:
    """The result of a distillation.

    gold: the student trained on labels; None where it was left out.
    merged_difference: the largest difference (nats) between merged weights and adapter; None where none were written.
    """

    plan: DistillPlan
    settings: DistillSettings
    teacher_data: TeacherData
    student: TrainedStudent
    gold: TrainedStudent | None
    verdict: DistillVerdict
    adapter_check: AdapterCheck
    retention: Retention
    merged_difference: float | None


def training_record(result: Distillation) -> dict[str, Any]:
    """train.json: what the adapter was made of, and how."""
    plan, student, data = result.plan, result.student, result.teacher_data
    teacher_model, student_model = plan.teacher_model, plan.student_model
    return {
        "schema_version": SCHEMA_VERSION,
        "from_prompt": {"id": plan.artifact["id"], "name": plan.name, "run": plan.artifact.get("run")},
        "teacher": {"id": plan.teacher_prompt.id, "model": teacher_model.name, "sha256": teacher_model.sha256},
        "student": {"model": student_model.name, "sha256": student_model.sha256, "prompt": plan.student_prompt.id},
        "adapter": {"sha256": student.sha256, "hyper": asdict(student.hyper)},
        "training": asdict(student.training),
        "gold_arm": asdict(result.gold.training) if result.gold else None,
        "dataset": {
            "sha256": data.dataset_sha256,
            "training_rows": len(data.rows),
            "min_score": data.min_score,
            "rejected": dict(data.rejected),
            "leaks_dropped": plan.leaks_dropped,
        },
        "splits": plan.artifact["splits"],
        "settings": result.settings.to_json(),
        "adapter_check": asdict(result.adapter_check),
        "retention": asdict(result.retention),
        "merged_difference": result.merged_difference,
    }
