"""The ASGI middleware that vLLM loads (`--middleware serving.middleware.Variants`): it puts named prompts before vLLM.

It runs inside vLLM's process, before vLLM's own key check, and imports nothing of vLLM. A request for a variant is
rewritten, and so is its reply: it gets the variant's name, and the form that the client asked for. A request for the
base model passes unchanged. Others are refused.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from serving.accesslog import JsonLines
from serving.admission import BODILESS_METHODS, HEALTH_PATHS, METRICS_PATH, Admission, read_json_object, request_path
from serving.asgi import (
    App,
    BufferedResponse,
    Disconnected,
    Message,
    Receive,
    Refusal,
    Scope,
    Send,
    call,
    drop_headers,
    header,
    read_body,
    replay_body,
)
from serving.connections import CONNECTIONS, ConnectionWatch, report_failure
from serving.exchange import HttpExchange, call_engine
from serving.metrics import Metrics
from serving.request import INLINE_BYTES, RequestReader, VariantRequest
from serving.response import ClientStream, client_reply, stopping_refusal
from serving.settings import KEY_VARIABLE, MiddlewareSettings
from serving.variants import ServedModels, load_variants
from serving.warm import Warmup

MODELS_PATH = "/v1/models"


@dataclass(frozen=True)
class Setup:
    """What a server is made of: its variants, its settings and its key."""

    served: ServedModels
    settings: MiddlewareSettings
    key: str | None = field(default=None, repr=False)

    @classmethod
    def from_environment(cls) -> Setup:
        """The setup that `serve` put into the environment."""
        settings = MiddlewareSettings.from_environment(os.environ)
        served = load_variants([Path(path) for path in settings.artifacts], [Path(path) for path in settings.adapters])
        return cls(replace(served, with_base=settings.with_base), settings, os.environ.get(KEY_VARIABLE) or None)


class Variants:
    """The middleware of one server. With `setup` None the setup comes from the environment."""

    def __init__(self, app: App, setup: Setup | None = None) -> None:
        setup = setup or Setup.from_environment()
        self.app, self.served, self.settings, self.key = app, setup.served, setup.settings, setup.key
        self.admission = Admission(setup.served, setup.key, seeds=setup.settings.seeds, max_n=setup.settings.max_n)
        self.readers = {name: RequestReader(variant) for name, variant in setup.served.variants.items()}
        self.metrics = Metrics(self.readers)
        self.warmup = Warmup(list(self.readers))
        self.access_log = JsonLines(setup.settings.access_log)
        self.inputs_log = JsonLines(setup.settings.log_inputs) if setup.settings.log_inputs else None
        self.running_requests, self.stopping = 0, False
        self._tasks: list[asyncio.Task[None]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._run_lifespan(scope, receive, send)
        elif scope["type"] == "http":
            await self._run_exchange(HttpExchange(scope, receive, send))
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _run_lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on the application's start and end, and start what runs beside the requests in between."""

        async def send_and_start(message: Message) -> None:
            await send(message)
            if message["type"] == "lifespan.startup.complete":
                self._start_tasks({"app": scope["app"]} if "app" in scope else {})

        try:
            await self.app(scope, receive, send_and_start)
        finally:
            for task in self._tasks:
                task.cancel()

    def _start_tasks(self, state: dict[str, Any]) -> None:
        """Start the warm-up; under uvicorn also the watch of its connections, and take its signals."""
        server = getattr(getattr(state.get("app"), "state", None), "server", None)
        if server is not None:
            self._handle_signals(server)
            watch = ConnectionWatch(server, most=CONNECTIONS + (self.settings.max_concurrency or 0))
            self._start_task(watch.run(), report_failure)
        run = self.warmup.run(self.app, self.served.variants, state, self.key)
        self._start_task(run, self.warmup.record_failure)

    def _start_task(self, run: Coroutine[Any, Any, None], at_end: Callable[[asyncio.Task[None]], None]) -> None:
        task = asyncio.create_task(run)
        task.add_done_callback(at_end)
        self._tasks.append(task)

    def _handle_signals(self, server: Any) -> None:
        """Let uvicorn stop the server: it lets running requests finish. vLLM's own handler would end them."""

        def stop() -> None:
            server.force_exit = self.stopping  # the second signal stops at once
            self.stopping = server.should_exit = True

        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop)

    async def _run_exchange(self, exchange: HttpExchange) -> None:
        try:
            await self._route(exchange)
        except Refusal as refusal:
            await exchange.refuse(refusal)
        except Disconnected:
            exchange.error_kind = "disconnected"
        finally:
            exchange.finish()
            if request_path(exchange.scope) not in (*HEALTH_PATHS, METRICS_PATH):
                self.metrics.count(exchange)
                self.access_log.write(exchange.log_record())

    async def _route(self, exchange: HttpExchange) -> None:
        scope, path = exchange.scope, request_path(exchange.scope)
        if path in HEALTH_PATHS:
            await self._answer_health(exchange)
            return
        self.admission.check_key(scope)
        if path == METRICS_PATH:
            await self._answer_metrics(exchange)
        elif path == MODELS_PATH and scope["method"] == "GET":
            await self._answer_models(exchange)
        elif scope["method"] in BODILESS_METHODS:
            await self._pass_through(exchange, exchange.receive)
        else:
            await self._admit(exchange, path)

    async def _admit(self, exchange: HttpExchange, path: str) -> None:
        """Check and count a request that may cost computing time, then answer it."""
        if self.stopping:
            raise stopping_refusal()
        limit = self.settings.max_concurrency
        if limit is not None and self.running_requests >= limit:
            raise Refusal(429, "busy", f"This server runs at most {limit} requests at once. Ask again in a second.")
        self.running_requests += 1
        try:
            raw = await read_body(exchange.scope, exchange.receive, self.settings.max_body)
            if not raw:
                self.admission.check_bodiless()
                await self._pass_through(exchange, replay_body(raw, exchange.receive))
                return
            body = await call(read_json_object, raw, in_thread=len(raw) > INLINE_BYTES)
            exchange.variant = self.admission.check_body(path, body)
            exchange.model = exchange.variant.name if exchange.variant else self.served.base
            if exchange.variant:
                reader = self.readers[exchange.variant.name]
                await self._answer_variant(exchange, reader, body, in_thread=reader.is_slow(len(raw)))
            else:
                await self._pass_through(exchange, replay_body(raw, exchange.receive))
        finally:
            self.running_requests -= 1

    async def _answer_variant(
        self, exchange: HttpExchange, reader: RequestReader, body: dict[str, Any], *, in_thread: bool
    ) -> None:
        content_type = (header(exchange.scope, b"content-type") or "").split(";")[0].strip().lower()
        if content_type != "application/json":
            raise Refusal(400, "invalid", "Send JSON, with the header Content-Type: application/json.")
        request = await call(reader.read, body, in_thread=in_thread)
        if self.inputs_log:
            self.inputs_log.write(request.inputs)
        exchange.stream = request.stream
        await (self._answer_stream if request.stream else self._answer_whole)(exchange, request)

    async def _answer_whole(self, exchange: HttpExchange, request: VariantRequest) -> None:
        response = BufferedResponse()
        receive = replay_body(request.body, exchange.receive)
        await call_engine(self.app, engine_scope(exchange, request), receive, response.send)
        if exchange.error_kind == "disconnected":
            return  # vLLM has given up the request, and its answer is of no use
        is_reply = response.status == 200
        body = client_reply(request, response.body, exchange.usage) if is_reply else response.body
        await response.forward(exchange.send, body)

    async def _answer_stream(self, exchange: HttpExchange, request: VariantRequest) -> None:
        stream = ClientStream(request, exchange.usage)

        async def send(message: Message) -> None:
            if message["type"] == "http.response.body" and exchange.status == 200:
                more = message.get("more_body", False)
                data = stream.feed(message.get("body", b"")) + (b"" if more else stream.close())
                if not data and more:
                    return
                message = {**message, "body": data}
            await exchange.send(message)

        receive = replay_body(request.body, exchange.receive)
        await call_engine(self.app, engine_scope(exchange, request), receive, send)
        if stream.failed:
            exchange.error_kind = exchange.error_kind or "engine"

    async def _pass_through(self, exchange: HttpExchange, receive: Receive) -> None:
        """To vLLM and back, unchanged."""
        await call_engine(self.app, exchange.scope, receive, exchange.send)

    async def _answer_health(self, exchange: HttpExchange) -> None:
        if self.stopping or not self.warmup.ready:
            # vLLM's error may quote what only those with the key may see.
            report = self.warmup.report(reason=self.admission.has_key(exchange.scope))
            await exchange.answer(503, json.dumps({"stopping": self.stopping, **report}).encode(), [])
        else:
            await self._pass_through(exchange, exchange.receive)

    async def _answer_models(self, exchange: HttpExchange) -> None:
        """List what a client can name, which the adapters in vLLM's own list are not."""
        response = BufferedResponse()
        await self.app(exchange.scope, exchange.receive, response.send)
        if response.status != 200:
            await response.forward(exchange.send, response.body)
            return
        listed = json.loads(response.body)
        base = next(model for model in listed["data"] if model["id"] == self.served.base)
        base = {key: value for key, value in base.items() if key != "root"} | {"promptstill": {"kind": "base"}}
        models = [base | self._model_entry(name) for name in self.served.variants]
        models += [base] if self.served.with_base else []
        await response.forward(exchange.send, json.dumps(listed | {"data": models}).encode())

    def _model_entry(self, name: str) -> dict[str, Any]:
        """The fields of a variant in /v1/models; `warm` has its prompt's token counts from the warm-up."""
        cached, prompt_tokens = self.warmup.cached.get(name, (0, 0))
        warm = {"prompt_tokens": prompt_tokens, "cached_tokens": cached}
        card = {**self.served.variants[name].card, "warm": warm}
        parent = {"parent": self.served.base} if self.served.with_base else {}
        return {"id": name, **parent, "owned_by": "promptstill", "promptstill": card}

    async def _answer_metrics(self, exchange: HttpExchange) -> None:
        """vLLM's metrics in plain text, followed by ours."""
        headers = drop_headers(exchange.scope["headers"], b"accept", b"accept-encoding")
        response = BufferedResponse()
        await self.app({**exchange.scope, "headers": headers}, exchange.receive, response.send)
        own = self.metrics.text() if response.status == 200 else b""
        await response.forward(exchange.send, response.body + own)


def engine_scope(exchange: HttpExchange, request: VariantRequest) -> Scope:
    """The scope of the engine's request. Of the client's headers it has only those that cannot change the answer."""
    kept = [(name, value) for name, value in exchange.scope["headers"] if name in (b"host", b"authorization")]
    own = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(request.body)).encode()),
        (b"x-request-id", exchange.id.encode()),
    ]
    return {**exchange.scope, "headers": [*kept, *own]}
