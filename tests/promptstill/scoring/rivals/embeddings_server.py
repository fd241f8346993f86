"""A fake endpoint of embeddings: the vector of a text counts its letters. It refuses what OpenAI and vLLM do."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from tests.support.loopback import run_application

LETTERS = "abcdefghijklmnopqrstuvwxyz"
MOST_TEXTS, CONTEXT = 2_048, 8_192  # texts a request; words a text, as a stand-in for tokens


def letter_counts(text: str) -> list[float]:
    return [float(text.casefold().count(letter)) for letter in LETTERS]


class FakeEmbeddings:
    """Serves /v1/embeddings on a loopback port.

    key: refuse requests without it. misbehave: the status to fail with, by the number of the request from 1, or None.
    vector: of a text. batches: the texts of each request that was answered.
    """

    def __init__(self, *, model: str = "letters", key: str | None = None) -> None:
        self.model, self.key = model, key
        self.misbehave: Callable[[int], int | None] = lambda number: None
        self.vector: Callable[[str], list[Any]] = letter_counts
        self.requests, self.batches = 0, list[list[str]]()
        self._open = ExitStack()

    @property
    def option(self) -> str:
        """`MODEL@URL`."""
        return f"{self.model}@http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        self.port = self._open.enter_context(run_application(self._application))
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()

    async def _application(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/v1/embeddings", self._embed)
        return app

    async def _embed(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.requests += 1
        if refusal := self._refusal(request, body):
            status, message = refusal
            return web.json_response({"error": {"message": message}}, status=status)
        self.batches.append(body["input"])
        data = [
            {"object": "embedding", "index": n, "embedding": self.vector(text)} for n, text in enumerate(body["input"])
        ]
        return web.json_response({"object": "list", "data": data[::-1], "model": self.model})

    def _refusal(self, request: web.Request, body: dict[str, Any]) -> tuple[int, str] | None:
        texts: Any = body.get("input")
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return 401, "invalid api key"
        if status := self.misbehave(self.requests):
            return status, f"told to answer {status}"
        if body.get("model") != self.model:
            return 404, f"The model {body.get('model')} does not exist."
        fits = isinstance(texts, list) and 0 < len(texts) <= MOST_TEXTS and all(isinstance(t, str) and t for t in texts)
        if not fits:
            return 400, "'input' must be 1 to 2048 texts, none of them empty"
        if any(len(text.split()) > CONTEXT for text in texts):
            return 400, f"This model's maximum context length is {CONTEXT} tokens"
        return None
