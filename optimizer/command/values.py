"""The values of options and arguments, as settings take them. Raises `UserError` for those that are none."""

from __future__ import annotations

from typing import Any, cast

import click

from promptstill.endpoint.allowance import JUDGE, PROPOSER
from promptstill.endpoint.url import split_model
from promptstill.errors import UserError
from promptstill.task.load import split_target


class FoldCount(click.ParamType[int | None]):
    """`auto` (None), 0 for no folds, or 2 and more."""

    name = "folds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        text = str(value)
        if text == "auto":
            return None
        if not text.isdecimal() or int(text) == 1:
            self.fail(f"{text} is neither auto, nor 0, nor a number of folds from 2 up.", param, ctx)
        return int(text)


ROLES = (PROPOSER, JUDGE)  # those that may have a key or a price of their own
KEYS: dict[str, str | None] = {"api_key_env": "OPENAI_API_KEY", "proposer_key_env": None, "judge_key_env": None}
KEY_SETTINGS = {"": "api_key_env", PROPOSER: "proposer_key_env", JUDGE: "judge_key_env"}


def split_targets(targets: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The recipe among the targets of --measure, and the files. Raises `UserError`."""
    recipes = [target for target in targets if split_target(target)[0].suffix == ".py"]
    if len(recipes) != 1:
        what = f"--measure takes one recipe, not {len(recipes)}." if recipes else "Which recipe?"
        raise UserError(what, "It has the rows and the metric.", "Try: optimize RECIPE.py --measure mine.md best.json")
    return recipes[0], tuple(target for target in targets if target != recipes[0])


def one_model(options: dict[str, Any]) -> dict[str, Any]:
    """The one `--model`, its URL as `--base-url`. Raises `UserError` for several."""
    models = options["models"]
    if len(models) > 1:
        raise UserError(
            f"Here optimize takes one --model, not {len(models)}.",
            "Several are for a new search, which then is one for each, and for --measure.",
            "Name one.",
        )
    name, url = split_model(models[0]) if models else (None, None)
    return {"model": name, "base_url": url or options["base_url"]}


def to_recipe(targets: tuple[str, ...]) -> str | None:
    """The one recipe, if any."""
    if len(targets) > 1:
        raise UserError(f"optimize takes one recipe, not {len(targets)}.", "", "To compare runs, add --compare.")
    return targets[0] if targets else None


def to_parameters(given: tuple[str, ...]) -> dict[str, str]:
    """`KEY=VALUE` pairs."""
    for pair in given:
        if "=" not in pair:
            raise UserError(f"-p {pair} is no KEY=VALUE.", "", "Write, for instance: -p data=mine.jsonl")
    return dict(cast("tuple[str, str]", tuple(pair.split("=", 1))) for pair in given)
