"""The wire: asks an OpenAI-compatible endpoint for completions, many at a time, each paid for once.

A completion is stored before it counts. Failures of the endpoint are retried with backoff and then stop the run; they
never become a score. A request that the endpoint refuses as malformed or too long is that request's own failure.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import aiohttp
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from optimizer.addresses import on_this_machine
from optimizer.budget import Meter
from optimizer.calls import CallStore, Completion, Total
from optimizer.errors import InfrastructureError, RequestRefused, UserError
from optimizer.files import digest

REFUSED = (400, 413, 422)


class Unanswered(Exception):
    """One attempt failed in a way that another may not."""


@dataclass(frozen=True)
class Endpoint:
    """Where completions come from. `identity` names the weights: calls to other weights are other calls."""

    base_url: str
    identity: str
    api_key: str | None = None
    key_name: str = "OPENAI_API_KEY"
    window: int = 64
    timeout_s: float = 600.0
    patience_s: float = 60.0
    post_mortem: Callable[[], str | None] = field(default=lambda: None, compare=False)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}


class Client:
    """At most `window` requests in flight; a new one leaves as soon as one returns."""

    def __init__(self, endpoint: Endpoint, store: CallStore, meter: Meter) -> None:
        self.endpoint, self.store, self.meter = endpoint, store, meter
        self._slots = asyncio.Semaphore(endpoint.window)
        self._pending: dict[str, asyncio.Future[Completion]] = {}
        self._answered_at = time.monotonic()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Client:
        timeout = aiohttp.ClientTimeout(total=self.endpoint.timeout_s, sock_connect=10)
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
        self._session = aiohttp.ClientSession(
            timeout=timeout,
            connector=connector,
            headers=self.endpoint.headers,
            trust_env=not on_this_machine(self.endpoint.base_url),
        )
        return self

    async def __aexit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._session:
            await self._session.close()

    async def models(self) -> list[dict[str, Any]]:
        """What the endpoint serves. Raises at once when nobody answers or the key is refused."""
        try:
            async with self.session.get(f"{self.endpoint.base_url}/models") as response:
                self._refuse_status(response.status, await response.text())
                return list((await response.json(content_type=None))["data"])
        except (
            aiohttp.ClientError,
            TimeoutError,
            Unanswered,
            RequestRefused,
            ValueError,
            KeyError,
            TypeError,
        ) as error:
            raise self._dead(error) from error

    def known(self, body: dict[str, Any]) -> Completion | None:
        """What is stored of a chat request; None where it was not asked yet."""
        return self.store.get(self._key(body))

    def _key(self, body: dict[str, Any], sample: int = 0) -> str:
        return digest([self.endpoint.identity, body, *([sample] if sample else [])])

    async def complete(self, body: dict[str, Any], role: str, sample: int = 0) -> Completion:
        """The completion of a chat request: from the store, from a twin in flight, or paid for.

        `sample` tells apart draws of one sampled request. It is not sent as `seed`: a seeded request whose prompt is
        prefilled in chunks kills vLLM's CPU worker ("CPU Generator does not use offset", vLLM 0.32).

        Raises `BudgetReached`, `RequestRefused`, `UserError` (key, model) or `InfrastructureError` (endpoint, disk).
        """
        key = self._key(body, sample)
        stored = self.store.get(key)
        if stored:
            self.meter.hits += 1
            return stored
        if key in self._pending:
            return await asyncio.shield(self._pending[key])
        future = self._pending[key] = asyncio.get_running_loop().create_future()
        try:
            completion = await self._pay(key, body, role)
            future.set_result(completion)
            return completion
        except BaseException as error:
            if isinstance(error, Exception):
                future.set_exception(error)
                future.exception()  # marks it as seen: there may be no twin to see it
            else:
                future.cancel()
            raise
        finally:
            del self._pending[key]

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("use the client in an async with block")
        return self._session

    async def _pay(self, key: str, body: dict[str, Any], role: str) -> Completion:
        async with self._slots:
            self.meter.reserve()
            try:
                completion: Completion = await self._retrying()(self._post, body)
                self.store.put(key, role, body, completion)
                self.meter.pay(role, Total(1, completion.prompt_tokens, completion.completion_tokens))
                return completion
            finally:
                self.meter.release()

    def _retrying(self) -> AsyncRetrying:
        return AsyncRetrying(
            retry=retry_if_exception_type(Unanswered),
            wait=wait_random_exponential(multiplier=0.25, max=8),
            stop=self._give_up,
            retry_error_callback=self._stop_run,
        )

    def _give_up(self, state: RetryCallState) -> bool:
        """While others are answered, one unlucky request may try long; when nobody is, the endpoint is dead."""
        silent_s = time.monotonic() - max(self._answered_at, state.start_time)
        gone = self.endpoint.post_mortem() is not None
        return gone or state.attempt_number >= 30 or (state.attempt_number >= 3 and silent_s > self.endpoint.patience_s)

    def _stop_run(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        raise self._dead(error) from error

    async def _post(self, body: dict[str, Any]) -> Completion:
        begun = time.monotonic()
        try:
            async with self.session.post(f"{self.endpoint.base_url}/chat/completions", json=body) as response:
                text = await response.text()
                self._refuse_status(response.status, text)
                completion = read_completion(text, time.monotonic() - begun)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unanswered(f"{type(error).__name__}: {error}") from error
        self._answered_at = time.monotonic()
        return completion

    def _refuse_status(self, status: int, text: str) -> None:
        """Sort an HTTP error: the user's, this request's, or one that may pass."""
        if status < 300:
            return
        said = f"{self.endpoint.base_url} answered {status}: {error_message(text)}"
        if status in (401, 403):
            raise UserError("The endpoint refused the API key.", said, f"Set it: export {self.endpoint.key_name}=…")
        if status == 404:
            raise UserError("The endpoint does not know that model or path.", said, "Check --model and --base-url.")
        if status in REFUSED:
            raise RequestRefused(said)
        raise Unanswered(said)

    def _dead(self, error: BaseException | None) -> InfrastructureError:
        last_words = self.endpoint.post_mortem()
        return InfrastructureError(
            f"The endpoint {self.endpoint.base_url} does not answer.",
            f"Last failure: {error}" + (f"\n{last_words}" if last_words else ""),
            "Check that it runs, then go on with --resume RUN: no stored call is repeated.",
        )


def read_completion(text: str, seconds: float) -> Completion:
    """The first choice of a chat completion. Raises `Unanswered` for a body that is none."""
    try:
        body = json.loads(text)
        choice, usage = body["choices"][0], body.get("usage") or {}
        details = usage.get("prompt_tokens_details") or {}
        return Completion(
            text=choice["message"].get("content") or "",
            finish_reason=choice.get("finish_reason") or "",
            prompt_tokens=int(usage.get("prompt_tokens") or 0),
            cached_tokens=int(details.get("cached_tokens") or 0),
            completion_tokens=int(usage.get("completion_tokens") or 0),
            seconds=seconds,
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise Unanswered(f"the reply is no chat completion: {text[:200]!r}") from error


def error_message(text: str) -> str:
    """The message inside an OpenAI error body, or the start of the body."""
    try:
        body = json.loads(text)
        error = body.get("error", body)
        return str(error.get("message", error) if isinstance(error, dict) else error)[:500]
    except (ValueError, AttributeError):
        return text[:300]
