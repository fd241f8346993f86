"""report.html of a distillation that runs or was stopped: what its folder has so far."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from distill.folder import DistilledFolder
from distill.report.result_page import read_lines, rejected_by_reason, training_charts
from distill.settings import DistillSettings
from distill.verdict.arms import Arm
from optimizer.report.report import interval
from promptstill.report import charts
from promptstill.report.page import render
from promptstill.shell import short_path

PAGE = Path(__file__).parent / "pages" / "progress.html.jinja"
UNKNOWN = {"name": "", "student": "the student", "teacher": "the teacher", "rows": 0}


def progress_page(folder: DistilledFolder, settings: DistillSettings, *, running: bool) -> str:
    """The page as text. Nothing on it is a result."""
    data = folder.read_step("teacher")
    metrics = read_lines(folder.work_dir / "student" / "metrics.jsonl")
    final = read_lines(folder.work_dir / "final" / "metrics.jsonl")
    return render(
        PAGE,
        running=running,
        plan=folder.read_step("plan") or UNKNOWN,
        stage=stage_text(data, metrics, settings) if not final else "the student that is shipped trains on all rows",
        resume=shlex.join(["distill", "--resume", short_path(folder.path)]),
        teacher_data=data,
        training_rows=len(read_lines(folder.dataset_path)),
        rejected=rejected_by_reason(read_lines(folder.path / "rejected.jsonl")),
        scores=base_scores(data),
        training=training_charts(metrics) if metrics else None,
    )


def stage_text(data: Any, metrics: list[dict[str, Any]], settings: DistillSettings) -> str:
    """How far the distillation is."""
    epochs = [line for line in metrics if "dev" in line]
    if epochs:
        best = 100 * max(line["dev"] for line in epochs)
        return f"{len(epochs)} of up to {settings.hyper.epochs} epochs are trained; the best scores {best:.1f} on dev"
    if metrics:
        return "the student trains in its first epoch"
    return "the teacher has answered; the training comes next" if data else "the teacher is being asked"


def base_scores(data: Any) -> Any:
    """A chart of the base model's test scores; None before the teacher's engine has given them."""
    if not data:
        return None
    arms = {name: Arm.from_json(arm) for name, arm in data["arms"].items()}
    bars = [interval(f"base + {name} prompt", vars(arm.score), "baseline") for name, arm in sorted(arms.items())]
    return charts.interval_chart(bars, "score on test, points, with 95 % interval")
