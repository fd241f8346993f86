"""distilled/report.html while the distillation works, or where it stopped: what its folder holds so far."""

from __future__ import annotations

import shlex
from typing import Any

from distill.arms import Arm
from distill.finished import FOLDER, course, lines, rejections
from distill.folder import Distilled
from distill.settings import Settings
from optimizer import charts
from optimizer.page import render
from optimizer.report import interval
from optimizer.shell import near

UNKNOWN = {"name": "", "student": "the student", "teacher": "its teacher", "rows": 0}


def page(folder: Distilled, settings: Settings, *, running: bool) -> str:
    """The page as text; nothing on it is a result."""
    taught = folder.kept("taught")
    metrics = lines(folder.work / "student" / "metrics.jsonl")
    return render(
        "underway.html.jinja",
        FOLDER,
        running=running,
        plan=folder.kept("plan") or UNKNOWN,
        stage=stage(taught, metrics, settings),
        resume=shlex.join(["distill", "--resume", near(folder.path)]),
        taught=taught,
        kept=len(lines(folder.dataset_path)),
        rejected=rejections(lines(folder.path / "rejected.jsonl")),
        scores=scores(taught),
        course=course(metrics) if metrics else None,
    )


def stage(taught: Any, metrics: list[dict[str, Any]], settings: Settings) -> str:
    """How far it has come."""
    epochs = [line for line in metrics if "dev" in line]
    if epochs:
        best = 100 * max(line["dev"] for line in epochs)
        return f"{len(epochs)} of up to {settings.hyper.epochs} epochs are trained, the best scores {best:.1f} on dev"
    if metrics:
        return "the student is in its first epoch"
    return "the teacher has answered, the training comes next" if taught else "the teacher is being asked"


def scores(taught: Any) -> Any:
    """The base's arms on test, which are read while the teacher's engine runs; None before."""
    if not taught:
        return None
    arms = {name: Arm.from_json(arm) for name, arm in taught["arms"].items()}
    bars = [interval(f"base + {name} prompt", vars(arm.score), "seed") for name, arm in sorted(arms.items())]
    return charts.intervals("scores", bars, "score on test, points, with 95 % interval")
