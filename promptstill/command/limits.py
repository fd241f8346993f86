"""The options by which `optimize` and `distill` limit what is spent, the limits they set, and the money in words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import click

from promptstill.command.help import option
from promptstill.command.roles import by_roles
from promptstill.endpoint.allowance import Allowance, Limits
from promptstill.errors import UserError
from promptstill.text import one_of

LIMITS = {"max_calls": "calls", "max_tokens": "tokens", "max_usd": "usd", "max_minutes": "minutes"}


def limit_options(
    heading: str, roles: Collection[str], *, calls: str, rare: bool = False
) -> tuple[Callable[[Any], Any], ...]:
    """The four limits and `--price`, under a heading of the command's help.

    roles: those that may have a price of their own. calls: what the calls are counted of. rare: whether the help shows
    even minutes and calls only with --help-all.
    """
    return (
        option(heading, "--max-minutes", rare=rare, type=click.FloatRange(0), metavar="N", help="Stop after so long."),
        option(heading, "--max-calls", rare=rare, type=click.IntRange(1), metavar="N",
               help=f"Stop before more calls than this, {calls}."),
        option(heading, "--max-tokens", rare=True, type=click.IntRange(1), metavar="N",
               help="Stop at so many prompt and reply tokens."),
        option(heading, "--max-usd", rare=True, type=click.FloatRange(0), metavar="N",
               help="Stop at this cost; needs --price."),
        option(heading, "--price", rare=True, multiple=True, metavar="[ROLE=]IN,OUT",
               help=f"USD per million prompt and reply tokens; ROLE: {one_of(roles)}."),
    )  # fmt: skip


def to_limits(options: Mapping[str, Any], roles: Collection[str]) -> Limits:
    """What the command line allows."""
    limits: dict[str, Any] = {field: options[name] for name, field in LIMITS.items()}
    return with_prices(Limits(**limits), options["price"], roles)


def with_prices(limits: Limits, given: Sequence[str], roles: Collection[str]) -> Limits:
    """The limits with the prices that are given, `IN,OUT` for the model itself or `ROLE=IN,OUT`. Raises `UserError`."""
    prices = {role: to_price(text) for role, text in by_roles("--price", given, roles).items()}
    own = prices.pop("", limits.price)
    return replace(limits, price=own, role_prices={**limits.role_prices, **prices})


def changed_limits(
    limits: Limits, options: Mapping[str, Any], chosen: Collection[str], roles: Collection[str]
) -> Limits:
    """A resumed run's limits, with what the command line changes. chosen: names of options given."""
    given: dict[str, Any] = {LIMITS[name]: options[name] for name in LIMITS if name in chosen}
    return replace(with_prices(limits, options["price"], roles), **given)


def to_price(text: str) -> tuple[float, float]:
    """`IN,OUT` in USD per million tokens."""
    try:
        prompt, completion = (float(part) for part in text.split(","))
    except ValueError:
        raise UserError(
            f"--price {text} is no pair of numbers.", "", "Write, for instance: --price 0.15,0.60"
        ) from None
    return prompt, completion


def money_line(allowance: Allowance) -> str:
    """What was paid in all, and by role; empty where nothing has a price."""
    if not allowance.usd:
        return ""
    parts = ", ".join(f"{role} {usd:.2f}" for role, usd in allowance.usd_by_role.items() if usd)
    return f"{allowance.usd:.2f} USD in all ({parts})"
