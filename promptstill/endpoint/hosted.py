"""Hosted models by the names that LiteLLM gives them, such as anthropic/claude-haiku-4-5.

LiteLLM's table of models says which names are a provider's, what they cost, and how long a prompt may be. It comes with
the package, and is read as a file: to import LiteLLM takes seconds.
"""

from __future__ import annotations

import difflib
import functools
import importlib.util
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from promptstill.endpoint.allowance import NO_PRICE, Limits, Price
from promptstill.errors import UserError

SCHEME = "litellm://"
TABLE = "model_prices_and_context_window_backup.json"
AZURE = "azure"  # whose names are the user's own deployments
CHAT_MODES = ("chat", "responses")
PACKAGES = {"bedrock": "boto3", "sagemaker": "boto3", "vertex_ai": "google.auth"}  # which LiteLLM asks for
KEY_NAMES = {  # of providers that are entered otherwise than by PROVIDER_API_KEY
    "bedrock": "AWS_ACCESS_KEY_ID",
    "sagemaker": "AWS_ACCESS_KEY_ID",
    "vertex_ai": "GOOGLE_APPLICATION_CREDENTIALS",
}
OWN_KEY = "OPENAI_API_KEY"  # the default of --api-key-env; a provider's own variable stands instead of it


@dataclass(frozen=True)
class HostedModel:
    """A model of a provider. price: USD per million tokens; context: tokens of a prompt; None where not known."""

    name: str
    provider: str
    price: Price | None = None
    context: int | None = None

    @property
    def url(self) -> str:
        """What stands in the place of an endpoint's address."""
        return SCHEME + self.provider

    @property
    def line(self) -> str:
        """For the beginning of a run."""
        prompt, reply = self.price or (0, 0)
        cost = (
            f"{prompt:g} USD per million prompt tokens, {reply:g} per million of replies" if self.price else "no price"
        )
        return f"{self.name} is asked through LiteLLM {version('litellm')}, whose table says: {cost}"


def find_hosted(name: str) -> HostedModel | None:
    """The provider's model called `name`, PROVIDER/MODEL; None where LiteLLM's table has none and it is no deployment
    of Azure. Raises `UserError` for one that is not for chats."""
    provider, slash, rest = name.partition("/")
    if not slash or name.startswith("hf:"):
        return None
    entry = next((found for key in (name, rest) if (found := table_entry(key, provider))), None)
    if entry is None:
        return HostedModel(name, provider) if provider == AZURE and rest else None
    if (mode := entry.get("mode")) not in CHAT_MODES:
        raise UserError(
            f"{name} is no model to chat with.",
            f"LiteLLM's table has it for {str(mode).replace('_', ' ')}.",
            f"Name a chat model of {provider}; hf:{name} is the model of that name in the hub.",
        )
    return HostedModel(name, provider, entry_price(entry), entry.get("max_input_tokens") or entry.get("max_tokens"))


def table_entry(key: str, provider: str) -> Mapping[str, Any] | None:
    """The table's entry of that key, where it is the provider's: vertex_ai has several kinds of models."""
    entry = model_table().get(key, {})
    owner = str(entry.get("litellm_provider", ""))
    return entry if owner == provider or owner.startswith((f"{provider}_", f"{provider}-")) else None


def entry_price(entry: Mapping[str, Any]) -> Price | None:
    """USD per million prompt tokens, and reply tokens."""
    prices = entry.get("input_cost_per_token"), entry.get("output_cost_per_token")
    return None if None in prices else (float(prices[0]) * 1e6, float(prices[1]) * 1e6)  # type: ignore[arg-type]  # no None


@functools.cache
def model_table() -> dict[str, Any]:
    """LiteLLM's table by the names of models; empty where LiteLLM is not installed."""
    spec = importlib.util.find_spec("litellm")
    paths = [Path(folder) / TABLE for folder in (spec.submodule_search_locations or [])] if spec else []
    return next((json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()), {})


def similar_names(name: str) -> list[str]:
    """Names of chat models in the table for what a user typed: of that model, else such as look like it."""
    chat = {key: entry["litellm_provider"] for key, entry in model_table().items() if entry.get("mode") in CHAT_MODES}
    if name in chat:
        return [f"{chat[name]}/{name}"]
    names = [key if "/" in key else f"{owner}/{key}" for key, owner in chat.items()]
    return difflib.get_close_matches(name, names, n=3, cutoff=0.85)


def with_table_prices(limits: Limits, task: str | None, roles: Mapping[str, str]) -> Limits:
    """The limits with the table's prices where none are given. task, roles: names of models that a provider serves."""
    found = {role: model.price for role, name in roles.items() if (model := find_hosted(name)) and model.price}
    hosted = find_hosted(task) if task and limits.price == NO_PRICE else None
    price = (hosted and hosted.price) or limits.price
    return replace(limits, price=price, role_prices={**found, **limits.role_prices})


def is_hosted(url: str) -> bool:
    """Whether an endpoint's address stands for a provider."""
    return url.startswith(SCHEME)


def hosted_key(url: str, key_name: str) -> tuple[str | None, str]:
    """The key that LiteLLM is handed, None where it reads the provider's own variables, and the variable to name."""
    if key_name != OWN_KEY:
        return os.environ.get(key_name), key_name
    provider = url.removeprefix(SCHEME)
    return None, KEY_NAMES.get(provider, f"{provider.upper()}_API_KEY")


def require_access(name: str, url: str, key_name: str) -> None:
    """Raise `UserError` where the provider's package or key is missing. No request is sent."""
    provider = url.removeprefix(SCHEME)
    package = PACKAGES.get(provider)
    if package and importlib.util.find_spec(package.partition(".")[0]) is None:
        pip = package.replace(".", "-")
        raise UserError(f"{name} needs the package {pip}, which is not installed.", "", f"pip install {pip}")
    missing = missing_variables(name) if key_name == OWN_KEY else unset([key_name])
    if missing:
        raise UserError(
            f"There is no key for {name}.",
            f"Not set: {', '.join(missing)}.",
            f"export {missing[-1]}=…, or name another variable: --api-key-env NAME",
        )


def missing_variables(name: str) -> list[str]:
    """The environment variables that the provider's access needs and that are not set, as LiteLLM knows them."""
    provider = name.partition("/")[0]
    if provider in PACKAGES:  # roles, profiles and files besides, which only a request finds out
        return []
    from promptstill.endpoint.litellm_client import load_litellm

    known = load_litellm().validate_environment(name)
    left_out = {"AZURE_API_VERSION", *(["AZURE_API_KEY"] if "AZURE_AD_TOKEN" in os.environ else [])}  # has a default
    return [] if known["keys_in_environment"] else unset([one for one in known["missing_keys"] if one not in left_out])


def unset(variables: list[str]) -> list[str]:
    """Those of the environment variables that are not set."""
    return [name for name in variables if not os.environ.get(name)]
