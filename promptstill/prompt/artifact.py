"""Reads best.json. A file that is too large, broken or of another version is refused; nothing in it is executed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from promptstill.errors import UserError
from promptstill.files import similar_file
from promptstill.strict_json import parse_json

SCHEMA_VERSION = 2
MAX_BYTES = 16 * 2**20


def read_artifact(path: Path) -> dict[str, Any]:
    """A decoded best.json. Raises `UserError` for a file that is missing, too large, broken or of another version."""
    if not path.is_file():
        similar = similar_file(path, "*.json")
        hint = f"Did you mean {similar}?" if similar else "Make it with: optimize RECIPE.py"
        raise UserError(f"{path} does not exist.", "", hint)
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"{path} is larger than 16 MiB.", "An artifact that optimize wrote never is.", "")
    try:
        artifact = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON.", str(error), "Give the best.json that optimize wrote.") from error
    version = artifact.get("schema_version") if isinstance(artifact, dict) else None
    if not isinstance(version, int):
        raise UserError(f"{path} is no promptstill artifact.", "It has no schema_version.", "Give a best.json.")
    if version > SCHEMA_VERSION:
        raise UserError(
            f"{path} has schema_version {version}.",
            f"This promptstill reads {SCHEMA_VERSION}.",
            "Upgrade promptstill: pip install --upgrade promptstill",
        )
    if version < SCHEMA_VERSION:
        raise UserError(
            f"{path} has schema_version {version}, of an earlier promptstill.",
            f"This promptstill reads {SCHEMA_VERSION}; scores and counts have other names there.",
            "Write it again with optimize or distill, or convert it as CHANGELOG.md says.",
        )
    return dict(artifact)


def read_best(path: Path) -> dict[str, Any]:
    """A best.json that `optimize` wrote, with the record of its search: what `distill` and `optimize --gate` need.

    Raises `UserError`, also for the prompt.json of a student, which has no such record.
    """
    artifact = read_artifact(path)
    if "search" not in artifact:
        raise UserError(
            f"{path} is not what optimize wrote.",
            "It holds a prompt, but no search: distill's prompt.json is such a file.",
            "Give the best.json that it came from.",
        )
    try:
        Record.model_validate(artifact)
    except ValidationError as error:
        raise UserError(
            f"{path} has not all that optimize wrote.",
            problem_of(error),
            "Restore the file, or write it again with optimize.",
        ) from error
    return artifact


def problem_of(error: ValidationError | UnicodeEncodeError) -> str:
    """The first thing that is wrong with an artifact, with its place."""
    if isinstance(error, UnicodeEncodeError):
        return "It holds half of a surrogate pair, which is not valid text."
    first = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(str(part)[:80] for part in first['loc']) or 'prompt'}: {first['msg'][:400]}."


class RecordedRecipe(BaseModel):
    path: str
    sha256: str
    parameters: dict[str, str]


class RecordedModel(BaseModel):
    name: str
    sha256: str | None


class RecordedSearch(BaseModel):
    seed: int


class RecordedSplits(BaseModel):
    folds: int = 0
    seed: int
    sha256: dict[Literal["train", "dev", "test"], str]


class RecordedDev(BaseModel):
    winner: dict[Literal["mean", "low", "high", "n"], float]
    shipped_rows: dict[str, float] = {}
    gate_rows: dict[str, float] = {}


class RecordedReport(BaseModel):
    score: dict[Literal["mean", "low", "high", "n"], float]
    prompt_tokens: float = 0.0
    completion_tokens: float = 0.0


class RecordedTest(BaseModel):
    baseline: RecordedReport | None = None
    winner: RecordedReport | None = None


class RecordedScores(BaseModel):
    dev: RecordedDev
    test: RecordedTest | None = None


class RecordedFold(BaseModel):
    id: str
    prompt: dict[str, Any]


class Record(BaseModel):
    """What `distill` and `optimize --gate` read of a best.json besides its prompt."""

    id: str
    name: str
    shipped: str
    recipe: RecordedRecipe
    model: RecordedModel
    search: RecordedSearch
    splits: RecordedSplits
    scores: RecordedScores
    first_fold: RecordedFold | None = None
