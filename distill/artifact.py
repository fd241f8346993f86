"""What is written at the end: lineage, verdict, card and, last of all, prompt.json in best.json's schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from distill.card import card
from distill.distillation import Distillation, lineage
from distill.folder import Distilled
from distill.report import write_report, write_rows
from optimizer.files import write_json, write_text
from optimizer.models import resolve
from optimizer.prompt import SCHEMA_VERSION
from optimizer.run import now, versions


def write(folder: Distilled, made: Distillation) -> None:
    """Publish the distillation; until prompt.json stands there, the folder is no result. The page is drawn from it."""
    folder.publish(made.student.adapter_dir, made.student.metrics_path)
    write_json(folder.path / "train.json", lineage(made) | {"created_at": now(), "versions": versions()})
    write_json(folder.path / "verdict.json", made.verdict.to_json())
    write_text(folder.path / "README.md", card(made))
    write_rows(folder.path / "test.jsonl", made.plan.prepared.splits.test, made.verdict)
    artifact = prompt_artifact(made)
    if made.merged is not None:
        write_json(folder.merged_prompt_path, merged_artifact(artifact, folder.merged_dir))
    write_json(folder.prompt_path, artifact)
    write_report(folder)


def prompt_artifact(made: Distillation) -> dict[str, Any]:
    """The student's prompt as a best.json: what it is of, and what was measured with it."""
    plan, verdict = made.plan, made.verdict
    test = {"student": {"score": asdict(verdict.student.score), "parse_failures": verdict.student.parse_failures}}
    gains = {"over_best": asdict(verdict.over_best)}
    return {
        "schema_version": SCHEMA_VERSION,
        "id": plan.student.id,
        "name": plan.name,
        "created_at": now(),
        "recipe": plan.artifact["recipe"],
        "model": {"name": plan.student_model.name, "sha256": plan.student_model.sha256},
        "adapter": {"sha256": made.student.sha256, "r": made.student.hyper.r},
        "from_prompt": plan.artifact["id"],
        "shipped": "student" if verdict.distil else "prompt",
        "scores": {"test": {**test, "gains": gains}},
        "splits": plan.artifact["splits"],
        "example": dict(plan.prepared.splits.dev[0].inputs),
        "versions": versions(),
        "prompt": plan.student.model_dump(mode="json"),
    }


def merged_artifact(artifact: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The student's artifact for the merged weights in `folder`, which need no adapter; `serve FOLDER` reads it."""
    model = resolve(str(folder), lambda line: None)
    rest = {key: value for key, value in artifact.items() if key != "adapter"}
    return {**rest, "model": {"name": f"{artifact['name']}-merged", "sha256": model.sha256}}
