"""Warming: each variant is asked twice before /health says 200, so that its prompt sits in the prefix cache.

The second time, with other inputs, shows how much of the prompt is cached. What fails here would fail for every client.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from serving.asgi import App, Buffered, Message, Scope, replay
from serving.gate import CHAT
from serving.samples import sample_inputs
from serving.variants import Variant

WORDS = ("warm", "warmer")


@dataclass
class Warmth:
    """How far it is: `cached` holds (cached, all) prompt tokens by variant; `failed` says why it will never be warm."""

    waiting: list[str]
    cached: dict[str, tuple[int, int]] = field(default_factory=dict)
    failed: str | None = None

    @property
    def ready(self) -> bool:
        return not self.waiting and self.failed is None

    async def warm(self, app: App, variants: Mapping[str, Variant], state: Mapping[str, Any], key: str | None) -> None:
        """Ask every variant. `state` is what the application puts into every request's scope."""
        for name, variant in variants.items():
            for word in WORDS:
                response = Buffered()
                await app(scope_for(state, key), replay(body_for(variant, word), never), response.send)
                if response.status != 200:
                    self.failed = f"{name} does not answer: {response.body.decode(errors='replace')[:500]}"
                    sys.stderr.write(f"warming failed: {self.failed}\n")
                    return
            usage = json.loads(response.body)["usage"]
            details = usage.get("prompt_tokens_details") or {}
            self.cached[name] = (details.get("cached_tokens") or 0, usage["prompt_tokens"])
            self.waiting.remove(name)

    def ended(self, task: asyncio.Task[None]) -> None:
        """Called when `warm` has ended, however it did."""
        if not task.cancelled() and (error := task.exception()):
            self.failed = f"{type(error).__name__}: {error}"

    def report(self) -> dict[str, Any]:
        """What /health says while it is not 200."""
        return {"waiting": self.waiting, "failed": self.failed}


async def never() -> Message:
    """A client that stays."""
    await asyncio.Event().wait()
    raise AssertionError("nobody sets the event")


def body_for(variant: Variant, word: str) -> bytes:
    """A request of one reply token; with `word` where an input is text."""
    request = variant.prompt.request(sample_inputs(variant.prompt, word))
    return json.dumps(request | {"model": variant.served_as, "max_tokens": 1}).encode()


def scope_for(state: Mapping[str, Any], key: str | None) -> Scope:
    """A request from within."""
    headers = [(b"content-type", b"application/json"), (b"host", b"localhost")]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": CHAT,
        "raw_path": CHAT.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers + ([(b"authorization", f"Bearer {key}".encode())] if key else []),
        "client": ("127.0.0.1", 0),
        "server": ("127.0.0.1", 0),
        "state": {},
        **state,
    }
