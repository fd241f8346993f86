"""The options by which `optimize` and `distill` say which rivals without a model stand on test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from promptstill.command.help import option


def rival_options(heading: str) -> tuple[Callable[[Any], Any], ...]:
    """`--no-rivals` and `--embeddings`, under a heading of the command's help."""
    leave_out = option(
        heading,
        "--no-rivals",
        "rivals",
        rare=True,
        is_flag=True,
        flag_value=False,
        default=True,
        help="Leave what needs no language model out of test.",
    )
    more = "One rival more: a classifier on this model's embeddings."
    return leave_out, option(heading, "--embeddings", rare=True, metavar="MODEL@URL", help=more)
