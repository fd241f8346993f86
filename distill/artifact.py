"""Writes the result of a distillation: train.json, verdict.json, the card, and prompt.json, in best.json's schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from distill.folder import DistilledFolder
from distill.report.card import model_card
from distill.report.page import write_arm_rows, write_report
from distill.result import Distillation, training_record
from promptstill.engine.models import find_model
from promptstill.files import write_json, write_text
from promptstill.prompt.artifact import SCHEMA_VERSION
from promptstill.provenance import now, versions


def write_result(folder: DistilledFolder, result: Distillation) -> None:
    """Write all files. The folder is a result once prompt.json is there; the page, which reads it, comes last."""
    final_metrics = result.final.trained.metrics_path if result.final else None
    folder.publish(result.shipped.adapter_dir, result.student.metrics_path, final_metrics)
    write_json(folder.path / "train.json", training_record(result) | {"created_at": now(), "versions": versions()})
    write_json(folder.verdict_path, result.verdict.to_json())
    write_text(folder.path / "README.md", model_card(result))
    write_arm_rows(folder.path / "test.jsonl", result.plan.opened.splits.test, result.verdict)
    artifact = prompt_artifact(result)
    if result.merged_difference is not None:
        write_json(folder.merged_prompt_path, merged_artifact(artifact, folder.merged_dir))
    write_json(folder.prompt_path, artifact)
    write_report(folder)


def prompt_artifact(result: Distillation) -> dict[str, Any]:
    """prompt.json: the student's prompt in best.json's schema, where it comes from, and its scores."""
    plan, verdict = result.plan, result.verdict
    student = verdict.student
    test = {"student": {"score": asdict(student.score), "parse_failures": student.parse_failures, "cut": student.cut}}
    gains = {"over_best": asdict(verdict.over_best)}
    compared = {"compared_sha256": result.student.sha256} if result.final else {}
    return {
        "schema_version": SCHEMA_VERSION,
        "id": plan.student_prompt.id,
        "name": plan.name,
        "created_at": now(),
        "recipe": plan.artifact["recipe"],
        "model": {"name": plan.student_model.name, "sha256": plan.student_model.sha256},
        "adapter": {"sha256": result.shipped.sha256, "r": result.shipped.hyper.r, **compared},
        "from_prompt": plan.artifact["id"],
        "shipped": "student" if verdict.distil else "prompt",
        "scores": {"test": {**test, "gains": gains}},
        "splits": plan.artifact["splits"],
        "example": dict(plan.opened.splits.dev[0].inputs),
        "versions": versions(),
        "prompt": plan.student_prompt.model_dump(mode="json"),
    }


def merged_artifact(artifact: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """prompt.json for the merged weights in `folder`, which need no adapter; `serve FOLDER` reads it."""
    model = find_model(str(folder), lambda line: None)
    rest = {key: value for key, value in artifact.items() if key != "adapter"}
    return {**rest, "model": {"name": f"{artifact['name']}-merged", "sha256": model.sha256}}
