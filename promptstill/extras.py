"""The optional parts of the installation: what needs packages that the base does not bring says so in one sentence."""

from __future__ import annotations

import importlib.util
from typing import Literal

from promptstill.errors import UserError
from promptstill.text import one_of

Extra = Literal["local", "cuda", "distill"]


def require(what: str, extras: tuple[Extra, ...], *modules: str) -> None:
    """Raise `UserError`, with the command that helps, where one of `modules` is not installed. It imports none."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        commands = one_of(f'pip install "promptstill[{extra}]"' for extra in extras)
        raise UserError(
            f"{what} needs {missing[0]}, which is not installed.", "", f"{commands}, or run `make optimize`."
        )
