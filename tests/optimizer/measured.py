"""`optimize --measure` in the test's own process, and what it left."""

from __future__ import annotations

import json
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from optimizer.cli import optimize
from optimizer.measure.measure import measure
from optimizer.measure.settings import MeasureSettings
from promptstill import UserError
from tests.support.codes import RECIPE
from tests.support.fake import FakeEndpoint


@dataclass(frozen=True)
class Outcome:
    """What was printed, and the user's mistake, if any."""

    stdout: str
    mistake: str


def measured(fake: FakeEndpoint, folder: Path, *words: str, recipe: str = RECIPE) -> Outcome:
    """`optimize codes.py --measure …` in the folder."""
    (folder / "codes.py").write_text(recipe)
    with chdir(folder):
        done = CliRunner().invoke(optimize, ["codes.py", "--base-url", fake.base_url, "--measure", *words])
    error = done.exception
    if error and not isinstance(error, UserError):
        raise error
    return Outcome(done.stdout, str(error or ""))


def record(folder: Path) -> dict[str, Any]:
    """measure.json of the one measurement in the folder."""
    (path,) = folder.glob("runs/*-measure-*/measure.json")
    return dict(json.loads(path.read_text()))


def notes_of(fake: FakeEndpoint, folder: Path, *files: str) -> str:
    """What a measurement of the files by the recipe in the folder says on the way."""
    lines: list[str] = []
    paths = tuple(str(folder / file) for file in files)
    settings = MeasureSettings(recipe=str(folder / "codes.py"), files=paths, base_url=fake.base_url)
    measure(settings, folder / "runs", lambda event: lines.append(str(event)))
    return "\n".join(lines)
