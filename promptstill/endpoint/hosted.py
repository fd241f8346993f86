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
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from promptstill.endpoint.allowance import NO_PRICE, Limits, Price
from promptstill.endpoint.url import split_model
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
KEYLESS = ("ollama", "ollama_chat", "lm_studio", "vllm", "hosted_vllm")
SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD")
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
        asked = f"{self.name} is asked through LiteLLM {version('litellm')}"
        if self.price is None:
            return f"{asked}, whose table has no price for it"
        prompt, reply = self.price
        return f"{asked}; by its table a million prompt tokens cost {prompt:g} USD, a million of replies {reply:g}"


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
    prompt, reply = entry.get("input_cost_per_token"), entry.get("output_cost_per_token")
    return None if prompt is None or reply is None else (float(prompt) * 1e6, float(reply) * 1e6)


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


def locate_model(text: str) -> tuple[str, str | None]:
    """A model's name, and the address that `@http` or its provider's name gives it; None where neither does."""
    name, url = split_model(text)
    hosted = None if url else find_hosted(name)
    return name, hosted.url if hosted else url


def with_table_prices(limits: Limits, names: Mapping[str, str]) -> Limits:
    """The limits with the table's prices where none are given.

    names: of models that a provider serves, by role; that of the task or the teacher is under an empty name. Raises
    `UserError` for a limit of money that would not see what one of them costs.
    """
    found = {role: model.price for role, name in names.items() if (model := find_hosted(name)) and model.price}
    of_table = found.pop("", NO_PRICE)
    own = of_table if limits.price == NO_PRICE else limits.price
    priced = replace(limits, price=own, role_prices={**found, **limits.role_prices})
    for role, name in names.items():
        if limits.usd is not None and role not in priced.role_prices and (role or own == NO_PRICE):
            raise unpriced_error(role, name)
    priced.check()
    return priced


def unpriced_error(role: str, name: str) -> UserError:
    """The refusal to limit money without the price of a role's model."""
    price = f"--price {role}=0.15,0.60" if role else "--price 0.15,0.60"
    do = f"Add it in USD per million prompt and reply tokens, such as {price}."
    return UserError(f"--max-usd needs the price of {name}.", "LiteLLM's table has none.", do)


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
    if package and not is_installed(package):
        pip = package.replace(".", "-")
        raise UserError(f"{name} needs the package {pip}, which is not installed.", "", f"pip install {pip}")
    missing = missing_variables(name)
    if key_name != OWN_KEY:  # it stands for the provider's own variable, but not for an address
        missing = [one for one in missing if not one.endswith("_KEY")] + empty_variables([key_name])
    if missing:
        raise UserError(
            f"There is no key for {name}." if missing[-1].endswith("_KEY") else f"{name} has no address.",
            f"Not set: {', '.join(missing)}.",
            f"export {missing[-1]}=…; another variable with the key is named by --api-key-env [ROLE=]NAME",
        )


def is_installed(package: str) -> bool:
    """Whether a package can be imported; that a namespace is there does not say so."""
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def missing_variables(name: str) -> list[str]:
    """The environment variables that the provider's access needs and that are empty, as far as LiteLLM knows them."""
    provider = name.partition("/")[0]
    if provider in PACKAGES:  # roles, profiles and files besides, which only a request finds out
        return []
    from promptstill.endpoint.litellm_client import load_litellm

    known = load_litellm().validate_environment(name)
    own = KEY_NAMES.get(provider, f"{provider.upper()}_API_KEY")
    left_out = {"AZURE_API_VERSION", *(["AZURE_API_KEY"] if "AZURE_AD_TOKEN" in os.environ else [])}  # has a default
    if known["keys_in_environment"]:
        return [own] if os.environ.get(own) == "" else []
    wanted = known["missing_keys"] or ([own] if provider not in KEYLESS else [])
    return empty_variables([one for one in wanted if one not in left_out])


def empty_variables(names: list[str]) -> list[str]:
    """Those of the environment variables that are not set, or are empty."""
    return [name for name in names if not os.environ.get(name)]


def secrets() -> tuple[str, ...]:
    """The values of all environment variables that look like keys, for messages to leave out."""
    return tuple(value for name, value in os.environ.items() if SECRET.search(name))
