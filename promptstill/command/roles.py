"""`ROLE=VALUE`: what an option says for one role, and without a role for the model itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from promptstill.errors import UserError
from promptstill.text import one_of


def by_roles(option: str, given: Sequence[str], roles: Collection[str]) -> dict[str, str]:
    """What is given for each role; without a role it is under an empty name. Raises `UserError` for another role."""
    found: dict[str, str] = {}
    for text in given:
        role, _, value = text.rpartition("=")
        if role not in ("", *roles):
            raise UserError(
                f"{option} {text} is for no role.", f"A role with its own is {one_of(sorted(roles))}.", "Name one."
            )
        found[role] = value
    return found


def to_keys(given: Sequence[str], settings: Mapping[str, str]) -> dict[str, str]:
    """The environment variables with keys, under the names of settings. settings: these names by role, that of the
    model itself under an empty one. Raises `UserError`."""
    names = by_roles("--api-key-env", given, [role for role in settings if role])
    return {settings[role]: name for role, name in names.items()}
