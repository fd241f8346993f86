"""The options of all three commands that say how vLLM is started on this machine."""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any

import click

from promptstill.command.help import option
from promptstill.errors import UserError

ENGINE_OPTIONS = {"vllm_args": "--vllm-args", "gpu_memory": "--gpu-memory"}


def engine_options(heading: str) -> tuple[Callable[[Any], Any], ...]:
    """`--vllm-args` and `--gpu-memory`, under a heading of the command's help."""
    return (
        option(heading, "--gpu-memory", rare=True, type=click.FloatRange(0, 1, min_open=True), metavar="SHARE",
               help="Share of each GPU for vLLM.  [default: what is needed]"),
        option(heading, "--vllm-args", rare=True, default="", metavar="'--FLAG VALUE …'",
               help="More arguments for vLLM, as one string."),
    )  # fmt: skip


def refuse_without_engine(base_url: str | None, chosen: Set[str]) -> None:
    """Refuse options of an engine where none is started. chosen: names of options given. Raises `UserError`."""
    given = [word for name, word in ENGINE_OPTIONS.items() if name in chosen]
    if base_url and given:
        raise UserError(
            f"{given[0]} is for a vLLM that is started here.",
            f"With --base-url the endpoint {base_url} answers.",
            f"Leave {given[0]} out, or start that server with it.",
        )
