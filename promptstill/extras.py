"""The optional parts: what needs another system, or packages that the base does not bring, says so in one sentence."""

from __future__ import annotations

import importlib.util
import platform
from typing import Literal

from promptstill.errors import UserError
from promptstill.text import one_of

Extra = Literal["local", "cuda", "distill"]


def require(what: str, extras: tuple[Extra, ...], *modules: str) -> None:
    """Raise `UserError` where this is not Linux, or with the command that installs what is missing of `modules`.

    All optional parts need vLLM, which is built for Linux alone. None of the modules is imported.
    """
    if (system := platform.system()) != "Linux":
        here = {"Darwin": "macOS"}.get(system, system)
        do = "Here, ask an endpoint: optimize RECIPE.py --base-url URL. On Windows, WSL is a Linux."
        raise UserError(f"{what} needs Linux, for vLLM; this is {here}.", "", do)
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        commands = one_of(f'pip install "promptstill[{extra}]"' for extra in extras)
        raise UserError(
            f"{what} needs {missing[0]}, which is not installed.", "", f"{commands}, or run `make optimize`."
        )
