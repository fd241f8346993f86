"""What a distillation came to, and train.json's lineage of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from distill.folder import ADAPTER_FILES
from distill.forgetting import Recall
from distill.hyper import Hyper
from distill.job import Trained
from distill.logprobs import Liveness
from distill.plan import Plan
from distill.settings import Settings
from distill.teach import Taught
from distill.verdict import Verdict
from optimizer.files import file_digest


@dataclass(frozen=True)
class Schooled:
    """A trained student: where its adapter lies, and how the training went."""

    adapter_dir: Path
    metrics_path: Path
    hyper: Hyper
    trained: Trained

    @property
    def sha256(self) -> str:
        return file_digest(self.adapter_dir / ADAPTER_FILES[1])


@dataclass(frozen=True)
class Distillation:
    """What a distillation came to."""

    plan: Plan
    settings: Settings
    taught: Taught
    student: Schooled
    gold: Schooled | None
    verdict: Verdict
    liveness: Liveness
    recall: Recall
    merged: float | None


def lineage(made: Distillation) -> dict[str, Any]:
    """train.json: what the adapter was made of."""
    plan, schooled = made.plan, made.student
    return {
        "schema_version": 1,
        "from_prompt": {"id": plan.artifact["id"], "name": plan.name, "run": plan.artifact.get("run")},
        "teacher": {"id": plan.teacher.id, "model": plan.teacher_model.name, "sha256": plan.teacher_model.sha256},
        "student": {"model": plan.student_model.name, "sha256": plan.student_model.sha256, "prompt": plan.student.id},
        "adapter": {"sha256": schooled.sha256, "hyper": asdict(schooled.hyper)},
        "training": asdict(schooled.trained),
        "gold_arm": asdict(made.gold.trained) if made.gold else None,
        "dataset": {
            "sha256": made.taught.dataset,
            "lessons": len(made.taught.entries),
            "kept_at": made.taught.keep,
            "rejected": dict(made.taught.rejected),
            "leaks_dropped": plan.leaks,
        },
        "splits": plan.artifact["splits"],
        "settings": made.settings.to_json(),
        "liveness": asdict(made.liveness),
        "off_task": asdict(made.recall),
        "merged_difference": made.merged,
    }
