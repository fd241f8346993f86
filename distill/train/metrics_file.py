"""metrics.jsonl of a training: a line for each update, and a line for each epoch's dev score."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from distill.train.checkpoint import Position, disk_errors
from promptstill.files import write_text

METRICS = "metrics.jsonl"


def append_metrics(work_dir: Path, line: dict[str, Any]) -> None:
    """Raises `InfrastructureError` where the disk does not take it."""
    with disk_errors(work_dir), (work_dir / METRICS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def rewind_metrics(work_dir: Path, step: int, position: Position | None) -> None:
    """Drop the lines written after the checkpoint at `position`, whose last update is `step`; without one, all."""
    path = work_dir / METRICS
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if position and path.is_file() else []
    kept = [line for line in lines if position and is_before_checkpoint(line, step, position)]
    with disk_errors(work_dir):
        write_text(path, "".join(kept))


def is_before_checkpoint(line: str, step: int, position: Position) -> bool:
    """Whether the checkpoint includes what the line records. A line that a crash cut short is not included."""
    try:
        value = json.loads(line)
        return bool(value["step"] <= step and ("dev" not in value or value["epoch"] <= len(position.dev_scores)))
    except (ValueError, KeyError, TypeError):
        return False
