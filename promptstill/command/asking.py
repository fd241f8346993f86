"""The options by which `optimize` and `distill` say how an endpoint is asked, and what `ModelSource` takes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from promptstill.command.engine import ENGINE_OPTIONS
from promptstill.command.help import option
from promptstill.endpoint.endpoint import PATIENCE_S

SOURCE = ("base_url", "api_key_env", "window", "patience", *ENGINE_OPTIONS)


def asking_options(heading: str) -> tuple[Callable[[Any], Any], ...]:
    """`--window` and `--patience`, under a heading of the command's help."""
    return (
        option(heading, "--window", rare=True, type=click.IntRange(1, 4096), metavar="N", default=64, show_default=True,
               help="Requests in flight."),
        option(heading, "--patience", rare=True, type=click.FloatRange(1), metavar="SECONDS", default=PATIENCE_S,
               show_default=True, help="Give up when nobody was answered for so long."),
    )  # fmt: skip
