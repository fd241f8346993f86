"""Runs in vLLM's process: a middleware around ours that records the token ids of the prompts that vLLM gets.

    serve … --vllm-args '--middleware tests.support.inside.Tokens'

It changes only requests whose X-Request-Id begins with "tokens-". Their token ids go to the file that TOKENS_VARIABLE
names.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from serving.asgi import App, BufferedResponse, Receive, Scope, Send, drop_headers, header, read_body, replay_body
from serving.middleware import Variants

TOKENS_VARIABLE = "PROMPTSTILL_TOKENS"


class Tokens:
    """Puts `TokenRecorder` between the middleware and vLLM."""

    def __init__(self, app: Variants) -> None:
        self.app = app
        app.app = TokenRecorder(app.app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


class TokenRecorder:
    """An application in place of vLLM's. It asks vLLM for the token ids too, and writes them to the file."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = header(scope, b"x-request-id") if scope["type"] == "http" else None
        if not name or not name.startswith("tokens-"):
            await self.app(scope, receive, send)
            return
        request = json.loads(await read_body(scope, receive, 2**20)) | {"return_token_ids": True}
        body = json.dumps(request).encode()
        length = (b"content-length", str(len(body)).encode())
        response = BufferedResponse()
        headers = [*drop_headers(scope["headers"], b"content-length"), length]
        await self.app({**scope, "headers": headers}, replay_body(body, receive), response.send)
        reply = json.loads(response.body)
        record = {"id": name, "messages": request["messages"], "ids": reply["prompt_token_ids"]}
        with Path(os.environ[TOKENS_VARIABLE]).open("a") as file:
            file.write(json.dumps(record) + "\n")
        await response.forward(send, response.body)
