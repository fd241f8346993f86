"""Looks into vLLM's process: an outermost middleware that has the engine report the token ids of the prompts it got.

    serve … --vllm-args '--middleware tests.inside.Tokens'

Only requests whose X-Request-Id begins with "tokens-" are touched; their ids go to the file that SEEN_VARIABLE names.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from serving.asgi import App, Buffered, Receive, Scope, Send, header, read_body, replay, without
from serving.middleware import Variants

SEEN_VARIABLE = "PROMPTSTILL_TOKENS_SEEN"


class Tokens:
    def __init__(self, app: Variants) -> None:
        self.app = app
        app.app = Inner(app.app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


class Inner:
    """Stands between the middleware and vLLM."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = header(scope, b"x-request-id") if scope["type"] == "http" else None
        if not name or not name.startswith("tokens-"):
            await self.app(scope, receive, send)
            return
        asked = json.loads(await read_body(scope, receive, 2**20)) | {"return_token_ids": True}
        body = json.dumps(asked).encode()
        length = (b"content-length", str(len(body)).encode())
        response = Buffered()
        inner = {**scope, "headers": [*without(scope["headers"], b"content-length"), length]}
        await self.app(inner, replay(body, receive), response.send)
        reply = json.loads(response.body)
        with Path(os.environ[SEEN_VARIABLE]).open("a") as file:
            file.write(json.dumps({"id": name, "messages": asked["messages"], "ids": reply["prompt_token_ids"]}) + "\n")
        await response.replay(send, response.body)
