"""The result of a distillation, and train.json: the record of its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
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
class FinalStudent:
    """The shipped student of a cross-validated run, and the check of its adapter."""

    trained: TrainedStudent
    adapter_check: AdapterCheck


@dataclass(frozen=True)
class Distillation:
    """The result of a distillation.

    gold: the student trained on labels; None where it was left out.
    merged_difference: the largest difference (nats) between merged weights and adapter; None where none were written.
    final: of a cross-validated run the student that is shipped; else None, and `student` is.
    spent: on the teacher and a judge, by role.
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
    final: FinalStudent | None = None
    spent: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shipped(self) -> TrainedStudent:
        """The student whose adapter is served."""
        return self.final.trained if self.final else self.student

    @property
    def shipped_check(self) -> AdapterCheck:
        """The check of its adapter."""
        return self.final.adapter_check if self.final else self.adapter_check


def training_record(result: Distillation) -> dict[str, Any]:
    """train.json: what the adapter was made of, and how. Of a cross-validated run, `final` says it of the adapter that
    is shipped, all other entries of the one that was compared."""
    plan, student, data = result.plan, result.student, result.teacher_data
    teacher_model, student_model = plan.teacher_model, plan.student_model
    return {
        "schema_version": SCHEMA_VERSION,
        "from_prompt": {"id": plan.artifact["id"], "name": plan.name, "run": plan.artifact.get("run")},
        "teacher": {
            "id": data.prompt_id,
            "model": teacher_model.name,
            "sha256": teacher_model.sha256,
            "base_url": result.settings.teacher_source.base_url,
        },
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
        "spent": dict(result.spent),
        "settings": result.settings.to_json(),
        "adapter_check": asdict(result.adapter_check),
        "retention": asdict(result.retention),
        "merged_difference": result.merged_difference,
        "final": final_record(result),
    }


def final_record(result: Distillation) -> dict[str, Any] | None:
    """The entry of the shipped student of a cross-validated run."""
    plan, data, final = result.plan.final, result.teacher_data.final, result.final
    if not (plan and data and final):
        return None
    dataset = {"sha256": data.dataset_sha256, "training_rows": len(data.rows)}
    dataset |= {"min_score": data.min_score, "rejected": dict(data.rejected)}
    return {
        "teacher": {"id": data.prompt_id},
        "adapter": {"sha256": final.trained.sha256},
        "training": asdict(final.trained.training),
        "dataset": dataset,
        "adapter_check": asdict(final.adapter_check),
    }
