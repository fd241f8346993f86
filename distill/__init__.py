"""The command `distill`: trains a small model on the best prompt's answers. torch loads in `train` alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from promptstill.events import Listener, silent

if TYPE_CHECKING:
    from distill.launch import FinishedDistillation
    from distill.settings import DistillSettings
else:  # type checkers would take every name to be here

    def __getattr__(name: str) -> object:
        """The settings load when they are asked for."""
        if name == "DistillSettings":
            from distill.settings import DistillSettings

            return DistillSettings
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["DistillSettings", "distill"]


def distill(
    settings: DistillSettings | None = None,
    *,
    resume: str | Path | None = None,
    output: str | Path = "distilled",
    listener: Listener = silent,
) -> FinishedDistillation:
    """Distil a prompt into a small model, as the command does; also from a notebook, inside a running event loop.

    settings: what to train and on what, `DistillSettings(from_prompt="best.json")`. With `resume`, a distillation's
    folder, it goes on with the settings that it began with, or with these and other limits; a finished one is read.
    output: the folder of a new distillation. listener: hears events (promptstill.events) as the work goes on.

    Raises `UserError` (a mistake in prompt, recipe, rows or settings), `InfrastructureError` (engine, endpoint, memory,
    disk), and `LimitReached` (promptstill.endpoint.allowance) where a limit ends it before there is a result.
    """
    from distill.launch import run_distillation

    return run_distillation(settings, Path(resume) if resume is not None else None, Path(output), listener)
