"""The folder of a distillation: the adapter, what it was made of, and `work/`, from which --resume goes on.

    adapter_config.json  adapter_model.safetensors  prompt.json  train.json  verdict.json  metrics.jsonl
    dataset.jsonl  rejected.jsonl  test.jsonl  README.md  report.html  work/  merged/ (with --merge)
    final/ (of a cross-validated run): dataset.jsonl rejected.jsonl metrics.jsonl of the shipped student

Of a cross-validated run the adapter is that of the student on all rows; the other files beside it are of the student
that was compared.

prompt.json is written after all but the page. A folder without it is not finished, and `serve` refuses it.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distill.settings import DistillSettings
from promptstill.endpoint.allowance import JUDGE
from promptstill.endpoint.store import Total
from promptstill.endpoint.stores import file_url
from promptstill.errors import UserError
from promptstill.files import read_json, write_json
from promptstill.prompt.artifact import SCHEMA_VERSION
from promptstill.scoring.rows import read_row_ids
from promptstill.shell import command_line
from promptstill.task.examples import Example

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
VERSION = "schema_version"
TIMING = "timing"  # the role of the calls that time a prompt
UNSTORED = (JUDGE, TIMING)  # roles whose calls are not in calls.db
SPENT = "spent"  # the step that has what was paid, by role


class DistilledFolder:
    """A distillation's files by name."""

    def __init__(self, path: Path) -> None:
        self.path, self.work_dir = path, path / "work"
        self.calls_url = file_url(self.work_dir / "calls.db")
        self.logs_dir = self.work_dir / "logs"
        self.settings_path = self.work_dir / "settings.json"
        self.dataset_path = path / "dataset.jsonl"
        self.final_dir = path / "final"
        self.prompt_path = path / "prompt.json"
        self.verdict_path = path / "verdict.json"
        self.merged_dir = path / "merged"
        self.merged_prompt_path = self.merged_dir / "prompt.json"

    @classmethod
    def create(cls, path: Path, settings: DistillSettings) -> DistilledFolder:
        """A new folder. Raises `UserError` where something is in the way."""
        cls.refuse_occupied(path)
        folder = cls(path)
        folder.logs_dir.mkdir(parents=True)
        folder.write_settings(settings)
        return folder

    def write_settings(self, settings: DistillSettings) -> None:
        """The settings by which a later --resume goes on."""
        write_json(self.settings_path, {VERSION: SCHEMA_VERSION, **settings.to_json()})

    @classmethod
    def refuse_occupied(cls, path: Path) -> None:
        """Raises `UserError` where something is in the way of a new folder."""
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            unfinished = (path / "work" / "settings.json").is_file() and not cls(path).finished
            way_out = f"Go on with it: {command_line('distill', '--resume', path)}" if unfinished else "Move it away"
            raise UserError(
                f"{path} already holds a distillation that is not finished."
                if unfinished
                else f"{path} already holds something.",
                "A new distillation would mix with it.",
                f"{way_out}, or name another folder with -o.",
            )

    @classmethod
    def open(cls, path: Path) -> tuple[DistilledFolder, DistillSettings]:
        """An earlier distillation, and its settings. Raises `UserError` for none, or one of another schema version."""
        folder = cls(path)
        if not folder.settings_path.is_file():
            raise UserError(
                f"{path} is no distillation to go on with.",
                f"It has no {folder.settings_path.relative_to(path)}.",
                "Start one with: distill --from-prompt best.json",
            )
        values = read_json(folder.settings_path)
        version = values.pop(VERSION, 1)  # the first version did not write it
        if version != SCHEMA_VERSION:
            raise UserError(
                f"{path} is of another promptstill (schema_version {version}).",
                f"This one reads {SCHEMA_VERSION}.",
                "Distil again into another folder with -o.",
            )
        return folder, DistillSettings.from_json(values)

    @property
    def finished(self) -> bool:
        """Whether the result is complete. --resume makes a part that was lost again."""
        adapter = [self.path / name for name in ADAPTER_FILES]
        return all(path.is_file() for path in (*adapter, self.prompt_path, self.verdict_path))

    def read_step(self, name: str) -> Any:
        """The stored result of the step `name`; None where it has not finished."""
        path = self.work_dir / f"{name}.json"
        return read_json(path) if path.is_file() else None

    def unstored_costs(self) -> dict[str, Total]:
        """What earlier parts paid for calls that are not in calls.db, by role: a judge's, whose replies are in the
        user's cache, and those that time a prompt."""
        roles = (self.read_step(SPENT) or {}).get("roles", {})
        return {role: Total(**roles[role]) for role in UNSTORED if role in roles}

    def write_step(self, name: str, result: Any) -> None:
        """Store a finished step's result, which may hold replies, for a later --resume."""
        write_json(self.work_dir / f"{name}.json", result, private=True)

    def count_students(self, test: Sequence[Example], student_sha256: str) -> int:
        """Number of students evaluated on one of these test rows or more: the given one, and those in the folders
        beside this one. Their test.jsonl says on which rows they were."""
        rows, found = {row.id for row in test}, {student_sha256}
        for path in self.path.absolute().parent.glob("*/prompt.json"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # another folder's file may be anything
                adapter = read_json(path)["adapter"]
                student = {str(adapter.get("compared_sha256", adapter["sha256"]))}
                found |= student if rows.intersection(read_row_ids(path.with_name("test.jsonl"))) else set()
        return len(found)

    def publish(self, adapter_dir: Path, metrics: Path, final_metrics: Path | None = None) -> None:
        """Copy the adapter and the metrics of the trainings to where the result's files are."""
        for name in ADAPTER_FILES:
            shutil.copyfile(adapter_dir / name, self.path / name)
        shutil.copyfile(metrics, self.path / "metrics.jsonl")
        if final_metrics:
            shutil.copyfile(final_metrics, self.final_dir / "metrics.jsonl")
