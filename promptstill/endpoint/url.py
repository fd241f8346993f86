"""URLs of endpoints: a model named together with one, and whether one leads to this machine."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def split_model(text: str) -> tuple[str, str | None]:
    """`MODEL@URL` as name and URL, split at the last `@http`: a name may have an @ of its own."""
    name, at, rest = text.rpartition("@http")
    return (name, f"http{rest}") if at and rest.startswith(("://", "s://")) else (text, None)


def on_this_machine(url: str) -> bool:
    """Whether the URL's host is localhost or a loopback address; a proxy must then not be used."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
