"""The files that can be measured: each is opened as a `Subject`, by what it holds.

A new kind of file docks in `open_json`: it becomes a subject whose `score` answers the rows in its own way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from promptstill.endpoint.client import Client
from promptstill.errors import UserError
from promptstill.prompt.artifact import read_artifact
from promptstill.prompt.own.files import JSON
from promptstill.prompt.own.read import OwnPrompt
from promptstill.prompt.prompt import Prompt
from promptstill.scoring.evaluate import ScoredRow, score_rows
from promptstill.scoring.unread import FIRST_ROWS, refuse_unread
from promptstill.strict_json import parse_json
from promptstill.task.examples import Example
from promptstill.task.open import OpenTask, read_own_of
from promptstill.task.recipe import Metric


@dataclass(frozen=True)
class Subject:
    """What is measured, by the name that tables show. found_on: the model on which a search found it, if one did."""

    label: str
    prompt: Prompt
    found_on: str | None = None

    def on(self, model: str, markers: Sequence[str]) -> Subject:
        """The subject as another model is asked it; on its own model it sends the same requests as before."""
        if self.found_on == model:
            return self
        return replace(self, prompt=self.prompt.model_copy(update={"model": model, "markers": list(markers)}))

    @property
    def id(self) -> str:
        """Of what is asked, the model's name included."""
        return self.prompt.id

    async def check(self, rows: Sequence[Example], metric: Metric, client: Client) -> None:
        """Raises `UserError` where nothing is found in the replies to the first rows; they are stored for `score`."""
        if self.prompt.reply.is_declared:
            refuse_unread(self.prompt, await score_rows(self.prompt, rows[:FIRST_ROWS], metric, client))

    async def score(self, rows: Sequence[Example], metric: Metric, client: Client) -> list[ScoredRow]:
        """The results on the rows, in their order."""
        return await score_rows(self.prompt, rows, metric, client)


def open_subjects(files: Sequence[str], opened: OpenTask) -> list[Subject]:
    """The files as subjects, or the recipe's own baseline without any. Raises `UserError`."""
    own = opened.recipe.own_prompt
    if not files and not (own and opened.own):
        raise UserError(
            "Which prompt?",
            "There is no file to measure, and the recipe names no baseline.",
            "Try: optimize RECIPE.py --measure mine.md best.json",
        )
    if own and opened.own and not files:
        return [Subject(own.name, opened.own)]
    subjects = [open_file(Path(file), opened) for file in dict.fromkeys(files)]
    for subject in subjects:
        refuse_other_fields(subject, opened)
    names = Counter(Path(subject.label).name for subject in subjects)
    return [replace(one, label=name) if names[name := Path(one.label).name] == 1 else one for one in subjects]


def open_file(path: Path, opened: OpenTask) -> Subject:
    """One file as a subject. Raises `UserError`."""
    own = opened.recipe.own_prompt
    if own and opened.own and Path(own.file).resolve() == path.resolve():
        return Subject(str(path), opened.own)  # the recipe says how its answers are read
    if path.suffix.lower() in JSON:
        return open_json(path, opened)
    return Subject(str(path), read_own_of(OwnPrompt(path), opened.task))


def open_json(path: Path, opened: OpenTask) -> Subject:
    """A best.json, a student's prompt.json, or OpenAI messages. Raises `UserError`."""
    value = peek(path)
    if isinstance(value, list) or "messages" in value:
        return Subject(str(path), read_own_of(OwnPrompt(path), opened.task))
    artifact = read_artifact(path)
    refuse_other_rows(path, artifact, opened)
    prompt = Prompt.from_artifact(artifact, str(path))
    return Subject(str(path), prompt, prompt.model)


def peek(path: Path) -> list[Any] | dict[str, Any]:
    """The value of a JSON file; an empty object where it cannot be read, for `read_artifact` to say why."""
    try:
        value = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, list | dict) else {}


def entry(value: object, *keys: str) -> Any:
    """What stands under the keys inside each other; None where a file from elsewhere has something else there."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def refuse_other_rows(path: Path, artifact: Mapping[str, Any], opened: OpenTask) -> None:
    """Raises `UserError` for a best.json that kept other rows for its test: it may have been chosen by these."""
    kept = entry(artifact, "splits", "sha256", "test")
    if kept in (None, opened.splits.digests()["test"]):
        return
    seed = entry(artifact, "search", "seed")
    raise UserError(
        f"{path} was found with other test rows than {opened.recipe_file.path} has now.",
        "Its search may have seen these rows, so a score on them would mean nothing.",
        f"Measure it with its own rows, and its seed: --seed {seed}" if seed is not None else "Restore the data.",
    )


def refuse_other_fields(subject: Subject, opened: OpenTask) -> None:
    """Raises `UserError` for a prompt of another task."""
    for kind in ("inputs", "outputs"):
        has, wanted = ([field.name for field in getattr(one, kind)] for one in (subject.prompt, opened.task))
        if has != wanted:
            raise UserError(
                f"{subject.label} is a prompt of another task.",
                f"Its {kind} are {', '.join(has)}; the recipe's are {', '.join(wanted)}.",
                "Measure it with its own recipe.",
            )


def seed_of(files: Sequence[str]) -> int:
    """The seed with which the first best.json among the files was found; 0 where there is none."""
    values = (peek(Path(file)) for file in files if Path(file).suffix.lower() in JSON)
    seeds = [entry(value, "search", "seed") for value in values]
    return next((seed for seed in seeds if isinstance(seed, int)), 0)
