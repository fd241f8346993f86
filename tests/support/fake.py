"""A fake endpoint in this process that speaks the OpenAI API: deterministic, and able to fail."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from tests.support.loopback import run_application

Body = dict[str, Any]
CUT = 0  # in place of a status: the connection is cut
MARKUP = 12  # tokens that a chat template adds
Answer = Callable[[Body], str]


def echo_answer(body: Body) -> str:
    """A reply that depends only on the request: one of its choices, or the last word of its last message."""
    choice = (body.get("structured_outputs") or {}).get("choice")
    if choice:
        return str(choice[len(json.dumps(body["messages"])) % len(choice)])
    return str(body["messages"][-1]["content"]).split()[-1]


class FakeEndpoint:
    """Serves /v1/models and /v1/chat/completions on a loopback port.

    answer: the reply to a request's body. key: refuse requests without it. finish: the reply's finish_reason.
    misbehave: the status to fail with, or `CUT`, by the number of the request from 1, or None. failure: the error and
    the headers of such an answer. loses: whether the answer has no token, by the same number. calls: the number of
    replies by body, `n` of which may come in one completion. bodies: in the order of completion. requests: the number
    of completions asked for. delay_s: seconds to each, or a function of its body.
    """

    def __init__(
        self,
        answer: Answer = echo_answer,
        *,
        model: str = "fake",
        key: str | None = None,
        finish: Answer = lambda body: "stop",
    ) -> None:
        self.answer, self.model, self.key, self.finish = answer, model, key, finish
        self.calls: Counter[str] = Counter()
        self.bodies: list[Body] = []
        self.misbehave: Callable[[int], int | None] = lambda number: None
        self.failure: tuple[Body, dict[str, str]] = ({}, {})
        self.loses: Callable[[int], bool] = lambda number: False
        self.delay_s: float | Callable[[Body], float] = 0.0
        self.most_in_flight = 0
        self._in_flight = 0
        self.requests = 0
        self.port = 0
        self._open = ExitStack()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        self.port = self._open.enter_context(run_application(self._application))
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()

    async def _application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._complete)
        return app

    def _refuse(self, request: web.Request) -> web.Response | None:
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.json_response({"error": {"message": "invalid api key"}}, status=401)
        return None

    async def _models(self, request: web.Request) -> web.Response:
        return self._refuse(request) or web.json_response({"data": [{"id": self.model}]})

    async def _complete(self, request: web.Request) -> web.Response:
        refusal = self._refuse(request)
        if refusal:
            return refusal
        body = await request.json()
        self.requests += 1
        status = self.misbehave(self.requests)
        if status == CUT:
            assert request.transport is not None
            request.transport.close()
        if status is not None:
            error, headers = self.failure
            told = {"message": f"told to answer {status}"} | error
            return web.json_response({"error": told}, status=status or 500, headers=headers)
        if refusal := self.refuse(body):
            return refusal
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        await asyncio.sleep(self.delay_s(body) if callable(self.delay_s) else self.delay_s)
        self._in_flight -= 1
        self.bodies.append(body)
        seen = self.seen(body)
        number = seen.get("n", 1)
        self.calls[json.dumps({key: body[key] for key in body if key != "n"}, sort_keys=True)] += number
        lost = self.loses(self.requests)
        return web.json_response(self.completion(seen, "" if lost else self.answer(seen), lost=lost))

    def completion(self, body: Body, text: str, *, lost: bool) -> Body:
        """The answer that holds a reply, as often as is asked."""
        number = body.get("n", 1)
        message = {"role": "assistant", **self.message(body, text)}
        choices = [{"index": n, "message": message, "finish_reason": self.end(body)} for n in range(number)]
        counted = self.usage(body, text)
        if counted:
            counted["usage"]["completion_tokens"] *= 0 if lost else number
        return {"id": "x", "object": "chat.completion", "choices": choices, **counted}

    def refuse(self, body: Body) -> web.Response | None:
        """What a request is refused with; None where it is answered."""
        return None

    def seen(self, body: Body) -> Body:
        """The part of a request that it does not ignore."""
        return body

    def end(self, body: Body) -> str:
        """Why a reply ended."""
        return self.finish(body)

    def message(self, body: Body, text: str) -> Body:
        """The message that holds a reply."""
        return {"content": text}

    def usage(self, body: Body, text: str) -> Body:
        """The fields of an answer that count its tokens."""
        length = len(json.dumps(body["messages"])) // 4 + self.markup(body)
        usage = {"prompt_tokens": length, "completion_tokens": len(text) // 4 + 1, "total_tokens": length}
        return {"usage": usage}

    def markup(self, body: Body) -> int:
        """Tokens that the chat template adds: none where the request brings its own."""
        return 0 if "chat_template" in body else MARKUP
