"""An OpenAI-compatible endpoint: its address and key, and how it may be asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp

from promptstill.endpoint.rate import FIRST_WINDOW
from promptstill.endpoint.url import on_this_machine

PATIENCE_S = 300.0


@dataclass(frozen=True)
class Endpoint:
    """Where completions come from.

    identity: of the weights; a stored call is used for the same weights only.
    key_name: the environment variable with the key, for messages. secrets: what no message may repeat, besides the key.
    window: the most requests in flight, reached by and by from first_window. timeout_s: for one answer.
    patience_s: how long no request may be answered before the run gives up.
    exit_report: the last lines of the server's log once it has ended, else None. slow: whether processors read the
    prompts, so that each token takes its time.
    """

    base_url: str
    identity: str
    api_key: str | None = field(default=None, repr=False)
    key_name: str = "OPENAI_API_KEY"
    window: int = 64
    first_window: int = FIRST_WINDOW
    timeout_s: float = 600.0
    patience_s: float = PATIENCE_S
    exit_report: Callable[[], str | None] = field(default=lambda: None, compare=False)
    slow: bool = False
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}


def open_session(endpoint: Endpoint) -> aiohttp.ClientSession:
    """A session for the endpoint; without a proxy where it is on this machine, which a proxy does not reach."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=endpoint.timeout_s, sock_connect=10),
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
        headers=endpoint.headers,
        trust_env=not on_this_machine(endpoint.base_url),
    )
