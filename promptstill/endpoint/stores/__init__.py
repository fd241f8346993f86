"""Call stores, one file each, and the table of them by the scheme of their URL.

A new store is a class as store.py's `CallStore` says, in a file here, and a line in STORES.
tests/promptstill/endpoint/test_stores.py tries every entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from promptstill.endpoint.store import CallStore
from promptstill.endpoint.stores.sqlite import MEMORY, open_sqlite
from promptstill.errors import UserError

__all__ = ["MEMORY", "STORES", "file_url", "open_calls"]

STORES: Mapping[str, Callable[[str], CallStore]] = {"sqlite": open_sqlite}


def open_calls(url: str) -> CallStore:
    """The call store at a URL, made where there is none.

    Raises `UserError` for a URL of a scheme that STORES does not have, and what the store's own function raises.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in STORES:
        raise UserError(
            f"There is no call store for {scheme}:// URLs." if separator else "A call store is named by a URL.",
            f"Known are {', '.join(f'{known}://' for known in STORES)}.",
            "Give a URL such as sqlite:///calls.db.",
        )
    return STORES[scheme](url)


def file_url(path: Path) -> str:
    """The URL of the call store in a file."""
    return f"{MEMORY}/{path}"
