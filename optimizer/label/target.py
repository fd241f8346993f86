"""The run whose candidates are asked: one run folder, by name. Anything else is refused, with the command to type."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from optimizer.run.folder import MEASURE, RunFolder
from promptstill.errors import UserError
from promptstill.files import read_json
from promptstill.shell import command_line
from promptstill.task.load import split_target


def open_target(targets: Sequence[str], count: int, runs: Path, others: Sequence[str]) -> RunFolder:
    """The run folder among the targets of --label-next COUNT. runs: where run folders are. others: options that do not
    go with it. Raises `UserError` for anything but one run folder."""
    paths = [split_target(target)[0] for target in targets]
    if not others and len(paths) == 1 and paths[0].suffix not in (".py", ".json"):
        return RunFolder.open(paths[0])
    run = newest_run(runs, next((path for path in paths if path.suffix == ".py"), None))
    try_line = f"Try: {command_line('optimize', '--label-next', count, run or 'RUN')}"
    if others:
        raise UserError(
            f"--label-next does not go with {', '.join(others)}.", "It asks a run's candidates as they are.", try_line
        )
    raise UserError("--label-next takes one run folder.", "It asks the candidates that a search found.", try_line)


def newest_run(runs: Path, recipe: Path | None) -> Path | None:
    """The folder of the search that began last, of this recipe where one is named; None where there is none."""
    begun: list[tuple[str, Path]] = []
    for path in runs.glob("*/run.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):  # another's, or broken
            record = read_json(path)
            searched = record.get("kind") != MEASURE and "replay" not in record
            if searched and (recipe is None or Path(record["recipe"]["path"]).resolve() == recipe.resolve()):
                begun.append((str(record["started_at"]), path.parent))
    return max(begun)[1] if begun else None
