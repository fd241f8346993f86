"""The command `optimize`: finds the best prompt for a task and measures its gain once, on rows the search never saw."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from promptstill.events import Listener, silent

if TYPE_CHECKING:
    from optimizer.run.result import RunResult
    from optimizer.run.settings import SearchSettings
else:  # type checkers would take every name to be here

    def __getattr__(name: str) -> object:
        """Settings and results load when they are asked for; what stood here before version 0.2 says where it is."""
        if name == "SearchSettings":
            from optimizer.run.settings import SearchSettings

            return SearchSettings
        import promptstill

        if name in promptstill.__all__:
            raise ImportError(f"{name} is in the package promptstill. Write: from promptstill import {name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["SearchSettings", "optimize"]


def optimize(
    settings: SearchSettings | None = None,
    *,
    resume: str | Path | None = None,
    runs: str | Path = "runs",
    output: str | Path | None = "best.json",
    listener: Listener = silent,
) -> RunResult:
    """Find the best prompt for a recipe, as the command does; also from a notebook, inside a running event loop.

    settings: what to search and where, `SearchSettings(recipe="recipes/qa.py", trials=8)`. With `resume`, a run folder,
    the run goes on; `settings` may then be left out, or be the run's own with other limits or another endpoint.
    runs: where the run folder goes. output: where best.json is written besides the run folder; None for nowhere.
    listener: hears events (promptstill.events) as the work goes on.

    Raises `UserError` (a mistake in recipe, rows or settings), `InfrastructureError` (engine, endpoint, disk),
    `LimitReached` where a limit ended the run before any prompt had a score, and `NothingToChoose` where other
    processes of a shared study hold every candidate.
    """
    from optimizer.launch import run_search

    return run_search(settings, resume, Path(runs), Path(output) if output is not None else None, listener)
