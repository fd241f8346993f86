"""The ASGI middleware that vLLM loads (`--middleware serving.middleware.Variants`): stock vLLM behind named prompts.

It runs outermost, before vLLM's key check, inside vLLM's process, and imports nothing of vLLM. Requests for a variant
are rewritten and their replies renamed; the base's pass through as they came; everything else is refused.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.accesslog import JsonLines
from serving.asgi import (
    App,
    Buffered,
    Disconnected,
    Message,
    Receive,
    Refusal,
    Scope,
    Send,
    header,
    read_body,
    replay,
    respond,
    without,
)
from serving.chat import Ask, Desk
from serving.exchange import Exchange, ask_engine
from serving.gate import BODILESS, HEALTH, METRICS, Gate, path_of, read_object
from serving.metrics import Metrics
from serving.replies import Stream, stopping, whole_reply
from serving.settings import KEY_VARIABLE, Settings
from serving.variants import Served, load
from serving.warm import Warmth

MODELS = "/v1/models"


@dataclass(frozen=True)
class Setup:
    """What a server is made of: its variants, its limits and its key."""

    served: Served
    settings: Settings
    key: str | None = None

    @classmethod
    def from_environment(cls) -> Setup:
        """As `serve` left it in the environment."""
        settings = Settings.from_environment(os.environ)
        served = load([Path(path) for path in settings.artifacts], [Path(path) for path in settings.adapters])
        return cls(served, settings, os.environ.get(KEY_VARIABLE) or None)


class Variants:
    """One server's middleware; `setup` None reads the environment."""

    def __init__(self, app: App, setup: Setup | None = None) -> None:
        setup = setup or Setup.from_environment()
        self.app, self.served, self.settings, self.key = app, setup.served, setup.settings, setup.key
        self.gate = Gate(setup.served, setup.key, seeds=setup.settings.seeds)
        self.desks = {name: Desk(variant) for name, variant in setup.served.variants.items()}
        self.metrics = Metrics(self.desks)
        self.warmth = Warmth(list(self.desks))
        self.access = JsonLines(setup.settings.access_log)
        self.inputs = JsonLines(setup.settings.log_inputs) if setup.settings.log_inputs else None
        self.running, self.stopping = 0, False
        self._warming: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif scope["type"] == "http":
            await self._exchange(Exchange(scope, receive, send))
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on the application's start and end; warm in between."""

        async def announce(message: Message) -> None:
            await send(message)
            if message["type"] == "lifespan.startup.complete":
                state = {"app": scope["app"]} if "app" in scope else {}
                self._stop_by_signal(scope.get("app"))
                warming = self.warmth.warm(self.app, self.served.variants, state, self.key)
                self._warming = asyncio.create_task(warming)
                self._warming.add_done_callback(self.warmth.ended)

        try:
            await self.app(scope, receive, announce)
        finally:
            if self._warming:
                self._warming.cancel()

    def _stop_by_signal(self, app: Any) -> None:
        """vLLM's own handler ends the engine under running requests; uvicorn's way lets them finish first."""
        server = getattr(getattr(app, "state", None), "server", None)
        if server is None:
            return

        def stop() -> None:
            server.force_exit = self.stopping  # the second time
            self.stopping = server.should_exit = True

        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop)

    async def _exchange(self, exchange: Exchange) -> None:
        try:
            await self._route(exchange)
        except Refusal as refusal:
            await exchange.refuse(refusal)
        except Disconnected:
            exchange.kind = "disconnected"
        finally:
            exchange.end()
            if path_of(exchange.scope) not in (*HEALTH, METRICS):
                self.metrics.count(exchange)
                self.access.write(exchange.record())

    async def _route(self, exchange: Exchange) -> None:
        scope, path = exchange.scope, path_of(exchange.scope)
        if path in HEALTH:
            await self._health(exchange)
            return
        self.gate.check_key(scope)
        if path == METRICS:
            await self._scrape(exchange)
        elif path == MODELS and scope["method"] == "GET":
            await self._models(exchange)
        elif scope["method"] in BODILESS:
            await self._pass(exchange, exchange.receive)
        else:
            await self._admit(exchange, path)

    async def _admit(self, exchange: Exchange, path: str) -> None:
        """A request that may cost something."""
        if self.stopping:
            raise stopping()
        limit = self.settings.max_concurrency
        if limit is not None and self.running >= limit:
            raise Refusal(429, "busy", f"{limit} requests are running, which is all that this server takes at once.")
        self.running += 1
        try:
            body = await read_body(exchange.scope, exchange.receive, self.settings.max_body)
            if not body:
                await self._pass(exchange, replay(body, exchange.receive))
                return
            request = read_object(body)
            exchange.variant = self.gate.check_body(path, request)
            exchange.model = exchange.variant.name if exchange.variant else self.served.base
            if exchange.variant:
                await self._answer(exchange, self.desks[exchange.variant.name], request)
            else:
                await self._pass(exchange, replay(body, exchange.receive))
        finally:
            self.running -= 1

    async def _answer(self, exchange: Exchange, desk: Desk, request: dict[str, Any]) -> None:
        """A variant's request."""
        kind = (header(exchange.scope, b"content-type") or "").split(";")[0].strip().lower()
        if kind != "application/json":
            raise Refusal(400, "invalid", "Send JSON, with the header Content-Type: application/json.")
        ask = desk.read(request)
        if self.inputs:
            self.inputs.write(ask.inputs)
        scope = rewritten(exchange, ask)
        exchange.streamed = ask.stream
        await (self._stream if ask.stream else self._whole)(exchange, ask, scope)

    async def _whole(self, exchange: Exchange, ask: Ask, scope: Scope) -> None:
        response = Buffered()
        await ask_engine(self.app, scope, replay(ask.body, exchange.receive), response.send)
        if exchange.kind == "disconnected":
            return  # vLLM has given up the request, and answers with nothing of use
        body = whole_reply(ask, response.body, exchange.usage) if response.status == 200 else response.body
        await response.replay(exchange.send, body)

    async def _stream(self, exchange: Exchange, ask: Ask, scope: Scope) -> None:
        stream = Stream(ask, exchange.usage)

        async def pass_on(message: Message) -> None:
            if message["type"] == "http.response.body" and exchange.status == 200:
                more = message.get("more_body", False)
                shown = stream.feed(message.get("body", b"")) + (b"" if more else stream.close())
                if not shown and more:
                    return
                message = {**message, "body": shown}
            await exchange.send(message)

        await ask_engine(self.app, scope, replay(ask.body, exchange.receive), pass_on)
        if stream.failed:
            exchange.kind = exchange.kind or "engine"

    async def _pass(self, exchange: Exchange, receive: Receive) -> None:
        """To vLLM and back, untouched."""
        await ask_engine(self.app, exchange.scope, receive, exchange.send)

    async def _health(self, exchange: Exchange) -> None:
        if self.stopping or not self.warmth.ready:
            body = json.dumps({"stopping": self.stopping, **self.warmth.report()}).encode()
            await respond(exchange.send, 503, body, [])
        else:
            await self._pass(exchange, exchange.receive)

    async def _models(self, exchange: Exchange) -> None:
        """The variants and the base, in place of vLLM's list, whose adapter names are of no use to a client."""
        response = Buffered()
        await self.app(exchange.scope, exchange.receive, response.send)
        if response.status != 200:
            await response.replay(exchange.send, response.body)
            return
        listed = json.loads(response.body)
        base = next(model for model in listed["data"] if model["id"] == self.served.base)
        base = {key: value for key, value in base.items() if key != "root"} | {"promptstill": {"kind": "base"}}
        cards = [base | self._card(name) for name in self.served.variants]
        await response.replay(exchange.send, json.dumps(listed | {"data": [*cards, base]}).encode())

    def _card(self, name: str) -> dict[str, Any]:
        """What /v1/models says of a variant; `warm` counts its prompt's tokens when it was warmed."""
        cached, prompt_tokens = self.warmth.cached.get(name, (0, 0))
        warm = {"prompt_tokens": prompt_tokens, "cached_tokens": cached}
        about = {**self.served.variants[name].card, "warm": warm}
        return {"id": name, "parent": self.served.base, "owned_by": "promptstill", "promptstill": about}

    async def _scrape(self, exchange: Exchange) -> None:
        """vLLM's metrics in plain text, ours behind them."""
        headers = without(exchange.scope["headers"], b"accept", b"accept-encoding")
        response = Buffered()
        await self.app({**exchange.scope, "headers": headers}, exchange.receive, response.send)
        ours = self.metrics.text() if response.status == 200 else b""
        await response.replay(exchange.send, response.body + ours)


def rewritten(exchange: Exchange, ask: Ask) -> Scope:
    """The scope of the engine's request: of the client's headers only those that cannot change the answer."""
    kept = [(name, value) for name, value in exchange.scope["headers"] if name in (b"host", b"authorization")]
    own = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(ask.body)).encode()),
        (b"x-request-id", exchange.id.encode()),
    ]
    return {**exchange.scope, "headers": [*kept, *own]}
