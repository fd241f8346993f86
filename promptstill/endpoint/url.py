"""URLs of endpoints: a model named together with one, and whether one leads to this machine."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

MODEL_AT = re.compile(r"(?P<name>.*)@(?P<url>(?:https?|litellm)://.*)", re.DOTALL)


def split_model(text: str) -> tuple[str, str | None]:
    """`MODEL@URL` as name and URL, split at the last `@http` or `@litellm`: a name may have an @ of its own."""
    found = MODEL_AT.fullmatch(text)
    return (found["name"], found["url"]) if found else (text, None)


def on_this_machine(url: str) -> bool:
    """Whether the URL's host is localhost or a loopback address; a proxy must then not be used."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
