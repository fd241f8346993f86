"""Tells whether a URL leads to this machine: a proxy must then not be used."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def on_this_machine(url: str) -> bool:
    """Whether the URL's host is localhost or a loopback address."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
