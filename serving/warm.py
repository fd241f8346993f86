"""The warm-up: before /health says 200, each variant gets two requests, so that its prompt is in the prefix cache.

The second request has other inputs, so it shows how much of the prompt is cached. A variant that fails here would fail
for every client.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from serving.admission import CHAT_PATH
from serving.asgi import App, BufferedResponse, Message, Scope, replay_body
from serving.samples import sample_inputs
from serving.variants import Variant

WORDS = ("warm", "warmer")  # one in the inputs of each request


@dataclass
class Warmup:
    """The state of the warm-up.

    `waiting` lists the variants that are not warm yet. `cached` has (cached, all) prompt tokens of each warm variant.
    `failed` is the reason why the warm-up failed.
    """

    waiting: list[str]
    cached: dict[str, tuple[int, int]] = field(default_factory=dict)
    failed: str | None = None

    @property
    def ready(self) -> bool:
        return not self.waiting and self.failed is None

    async def run(self, app: App, variants: Mapping[str, Variant], state: Mapping[str, Any], key: str | None) -> None:
        """Warm every variant. `state` is what the application puts into the scope of each request."""
        for name, variant in variants.items():
            for word in WORDS:
                response = BufferedResponse()
                body = replay_body(warmup_body(variant, word), stay_connected)
                await app(warmup_scope(state, key), body, response.send)
                if response.status != 200:
                    self.failed = f"{name} does not answer: {response.body.decode(errors='replace')[:500]}"
                    sys.stderr.write(f"warm-up failed: {self.failed}\n")
                    return
            usage = json.loads(response.body)["usage"]
            details = usage.get("prompt_tokens_details") or {}
            self.cached[name] = (details.get("cached_tokens") or 0, usage["prompt_tokens"])
            self.waiting.remove(name)

    def record_failure(self, task: asyncio.Task[None]) -> None:
        """Called when the task of `run` has ended; an exception there is a failed warm-up."""
        if not task.cancelled() and (error := task.exception()):
            self.failed = f"{type(error).__name__}: {error}"

    def report(self, *, reason: bool) -> dict[str, Any]:
        """What /health says until the warm-up is done. Without `reason`, only whether it failed: true or false."""
        return {"waiting": self.waiting, "failed": self.failed if reason else self.failed is not None}


async def stay_connected() -> Message:
    """A `receive` of a client that never leaves."""
    await asyncio.Event().wait()
    raise AssertionError("nobody sets the event")


def warmup_body(variant: Variant, word: str) -> bytes:
    """A request for one reply token; its text inputs contain `word`."""
    request = variant.prompt.request(sample_inputs(variant.prompt, word))
    return json.dumps(request | {"model": variant.engine_name, "max_tokens": 1}).encode()


def warmup_scope(state: Mapping[str, Any], key: str | None) -> Scope:
    """The scope of a request that the server sends to itself."""
    headers = [(b"content-type", b"application/json"), (b"host", b"localhost")]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": CHAT_PATH,
        "raw_path": CHAT_PATH.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers + ([(b"authorization", f"Bearer {key}".encode())] if key else []),
        "client": ("127.0.0.1", 0),
        "server": ("127.0.0.1", 0),
        "state": {},
        **state,
    }
