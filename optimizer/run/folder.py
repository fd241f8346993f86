"""The run folder: where everything of one optimization lies, so that it can be resumed and checked.

    run.json  recipe.py  pools.json  study.log  calls.db  trials.jsonl  prompts.json  test.jsonl  best.json
    report.html  logs/

`optimize --measure` makes one with measure.json in place of what a search leaves.

The clock, git and the installed versions are read here and nowhere else.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from optimizer.run.settings import SearchSettings
from optimizer.run.winners import add_winners, stored_measured, winners_on
from optimizer.search.baseline import BASELINE, own_name
from optimizer.search.study import Trial
from promptstill.endpoint.allowance import JUDGE
from promptstill.endpoint.store import Total
from promptstill.endpoint.stores import file_url
from promptstill.errors import UserError
from promptstill.files import read_json, write_json, write_jsonl, write_text
from promptstill.prompt.artifact import SCHEMA_VERSION
from promptstill.prompt.prompt import Prompt
from promptstill.provenance import now, versions
from promptstill.shell import command_line
from promptstill.task.examples import Example
from promptstill.task.load import RecipeFile
from promptstill.task.open import OpenTask
from promptstill.task.splits import Splits

MOST_WORKERS = 64
MEASURE = "measure"  # the kind of a folder that `optimize --measure` writes


class RunFolder:
    """One run's files by name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.calls_url = file_url(path / "calls.db")
        self.study_path = path / "study.log"
        self.best_path = path / "best.json"
        self.pools_path = path / "pools.json"
        self.trials_path = path / "trials.jsonl"
        self.prompts_path = path / "prompts.json"
        self.test_path = path / "test.jsonl"
        self.report_path = path / "report.html"
        self.logs_dir = path / "logs"

    def pareto_path(self, number: int) -> Path:
        """Of the prompt that is the `number`-th cheapest of those that no other beats in score and tokens."""
        return self.path / "pareto" / f"{number}.json"

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
        run = cls(path)
        if (version := run.record.get("schema_version")) != SCHEMA_VERSION:
            raise UserError(
                f"{path} is a run of another promptstill (schema_version {version}).",
                f"This one reads {SCHEMA_VERSION}.",
                "Read it with the version that wrote it, or start a new run.",
            )
        if run.record.get("kind") == MEASURE:
            raise UserError(
                f"{path} is a measurement, not a search.",
                "It has no trials, and nothing to go on with.",
                f"Its figures are in {path / 'measure.json'}.",
            )
        return run

    @property
    def is_begun(self) -> bool:
        """Whether there is a run.json."""
        return (self.path / "run.json").is_file()

    @cached_property
    def record(self) -> dict[str, Any]:
        """run.json as it stands."""
        return dict(read_json(self.path / "run.json"))

    def settings(self) -> SearchSettings:
        """The settings that the run began with. Raises `UserError` for a replay: there is no model to go on with."""
        if "replay" in self.record:
            raise UserError(
                f"{self.path} is a replay, not a run.",
                "Its replies come from a record, which has no others.",
                f"Search with a model: {command_line('optimize', self.record['recipe']['path'])}",
            )
        return SearchSettings.from_json(self.record["settings"])

    @property
    def own_name(self) -> str | None:
        """What texts call the user's own prompt, where the recipe names one."""
        return own_name(self.record.get("baseline"))

    @property
    def baseline_name(self) -> str:
        """What texts call the baseline."""
        return self.own_name or BASELINE

    def begin(self, recipe_file: RecipeFile, splits: Splits, settings: dict[str, Any]) -> None:
        """Write what the run starts from."""
        write_text(self.path / "recipe.py", recipe_file.source)
        self.note(
            schema_version=SCHEMA_VERSION,
            name=recipe_file.name,
            started_at=now(),
            settings=settings,
            recipe=recipe_file.lineage(),
            splits={
                "sha256": splits.digests(),
                "train": len(splits.train),
                "dev": len(splits.dev),
                "test": len(splits.test),
                "folds": len(splits.folds),
                "seed": splits.seed,
            },
            baseline=recipe_file.recipe.own_prompt.name if recipe_file.recipe.own_prompt else None,
            example=dict(splits.dev[0].inputs),
            versions=versions(),
        )

    def note(self, **entries: Any) -> None:
        """Add entries to run.json as it stands now: another process of the run may have added its own."""
        with FileLock(self.logs_dir / "run.lock"):
            self.__dict__.pop("record", None)
            current = (self.record if self.is_begun else {}) | entries
            write_json(self.path / "run.json", current, private=True)
        self.__dict__["record"] = current

    def judge_cost(self) -> dict[str, Total]:
        """What judges cost in earlier parts of the run, as a role of its own; empty where none was asked.

        calls.db has none of it: a judge's replies are in the user's cache, for all runs.
        """
        stored = self.record.get("spent", {}).get("roles", {})
        return {role: Total(**cost) for role, cost in stored.items() if role == JUDGE}

    def count_winners(self, rows: Sequence[Example], *winners: str) -> int:
        """Note that winners were measured on these test rows; the number of all winners that were measured on one of
        them or more, in this run and those beside it."""
        ids = [row.id for row in rows]
        self.note(measured=add_winners(stored_measured(self.record, self.test_path), winners, ids))
        return len(winners_on(ids, [self.path.parent]))

    def refuse_changes(self, recipe_file: RecipeFile, splits: Splits) -> None:
        """A run goes on only with the recipe and the rows that it began with."""
        if self.record["recipe"]["sha256"] != recipe_file.sha256:
            raise UserError(
                f"{recipe_file.path} has changed since {self.path} began.",
                "Its results would mix two recipes.",
                f"Restore it from {self.path / 'recipe.py'}, or start a new run without --resume.",
            )
        if self.record["splits"]["sha256"] != splits.digests():
            raise UserError(
                f"The rows of {recipe_file.path} have changed since {self.path} began.",
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

    def write_trials(self, trials: list[Trial], chosen: str) -> None:
        """trials.jsonl, whole; `chosen` is the chosen trial's prompt id."""
        write_jsonl(
            self.trials_path,
            [
                {**t.to_json(), "rows": len(t.scores), "tokens": t.tokens, "chosen": t.prompt_id == chosen}
                for t in trials
            ],
            private=True,
        )

    def trials(self) -> list[Trial]:
        """What trials.jsonl holds; nothing before the first generation has ended."""
        if not self.trials_path.is_file():
            return []
        lines = [json.loads(line) for line in self.trials_path.read_text(encoding="utf-8").splitlines()]
        names = {field.name for field in fields(Trial)}
        return [Trial.from_json({key: one for key, one in line.items() if key in names}) for line in lines]

    def write_prompts(self, **prompts: Prompt) -> None:
        """prompts.json: the prompts that are compared, by arm."""
        stored = {arm: prompt.model_dump(mode="json") for arm, prompt in prompts.items()}
        write_json(self.prompts_path, stored, private=True)

    def prompts(self) -> dict[str, Prompt]:
        """What prompts.json holds; nothing before the first generation has ended."""
        if not self.prompts_path.is_file():
            return {}
        stored = read_json(self.prompts_path)
        return {arm: Prompt.model_validate(prompt) for arm, prompt in stored.items()}


def open_run(settings: SearchSettings, opened: OpenTask, root: Path, resume: Path | None) -> RunFolder:
    """A new run folder, or the one to go on with, checked to be of this recipe and these rows. Raises `UserError`."""
    if resume is None:
        run = RunFolder.create(opened.name, root)
        run.begin(opened.recipe_file, opened.splits, settings.to_json())
        return run
    run = RunFolder.open(resume)
    run.refuse_changes(opened.recipe_file, opened.splits)
    return run
