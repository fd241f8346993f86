"""The folder that distil leaves behind: the adapter, what it was made of, and `work/`, from which it can go on.

    adapter_config.json  adapter_model.safetensors  prompt.json  train.json  verdict.json  metrics.jsonl
    dataset.jsonl  rejected.jsonl  test.jsonl  README.md  report.html  work/  merged/ (with --merge)

prompt.json is written after all but the page: a folder without it is not finished, and `serve` will not take it for a
result.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

from distill.settings import Settings
from optimizer.errors import UserError
from optimizer.files import write_json
from optimizer.shell import pasted

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


class Distilled:
    """A distillation's files by name."""

    def __init__(self, path: Path) -> None:
        self.path, self.work = path, path / "work"
        self.calls_path = self.work / "calls.db"
        self.logs_dir = self.work / "logs"
        self.dataset_path = path / "dataset.jsonl"
        self.prompt_path = path / "prompt.json"
        self.verdict_path = path / "verdict.json"
        self.merged_dir = path / "merged"
        self.merged_prompt_path = self.merged_dir / "prompt.json"
        self.settings_path = self.work / "settings.json"

    @classmethod
    def create(cls, path: Path, settings: Settings) -> Distilled:
        """A new folder. Raises `UserError` where something is in the way."""
        cls.refuse_occupied(path)
        made = cls(path)
        made.logs_dir.mkdir(parents=True)
        write_json(made.settings_path, settings.to_json())
        return made

    @classmethod
    def refuse_occupied(cls, path: Path) -> None:
        """Raises `UserError` where something is in the way of a new folder."""
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            begun = (path / "work" / "settings.json").is_file() and not cls(path).finished
            going = f"Go on with it: {pasted('distill', '--resume', path)}" if begun else "Move it away"
            raise UserError(
                f"{path} already holds a distillation that is not finished."
                if begun
                else f"{path} already holds something.",
                "A new distillation would mix with it.",
                f"{going}, or name another folder with -o.",
            )

    @classmethod
    def open(cls, path: Path) -> tuple[Distilled, Settings]:
        """An earlier distillation, and its settings. Raises `UserError` where there is none."""
        made = cls(path)
        if not made.settings_path.is_file():
            raise UserError(
                f"{path} is no distillation to go on with.",
                f"It has no {made.settings_path.relative_to(path)}.",
                "Start one with: distill --from-prompt best.json",
            )
        return made, made.settings()

    @property
    def finished(self) -> bool:
        """Whether the result stands; what was lost of it, --resume makes again."""
        adapter = [self.path / name for name in ADAPTER_FILES]
        return all(path.is_file() for path in (*adapter, self.prompt_path, self.verdict_path))

    def settings(self) -> Settings:
        return Settings.from_json(json.loads(self.settings_path.read_text(encoding="utf-8")))

    def kept(self, name: str) -> Any:
        """What an earlier step left under `name`, or None."""
        path = self.work / f"{name}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def keep(self, name: str, value: Any) -> None:
        """Leave a finished step's result for a later --resume."""
        write_json(self.work / f"{name}.json", value)

    def measured(self, rows: str, student: str) -> int:
        """How many students the test rows with this digest have measured: the given one, and those beside it."""
        found = {student}
        for path in self.path.absolute().parent.glob("*/prompt.json"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # another folder's file may be anything
                other = json.loads(path.read_text(encoding="utf-8"))
                found |= {other["adapter"]["sha256"]} if other["splits"]["sha256"]["test"] == rows else set()
        return len(found)

    def publish(self, adapter_dir: Path, metrics: Path) -> None:
        """Put the adapter, and the record of its training, in place."""
        for name in ADAPTER_FILES:
            shutil.copyfile(adapter_dir / name, self.path / name)
        shutil.copyfile(metrics, self.path / "metrics.jsonl")
