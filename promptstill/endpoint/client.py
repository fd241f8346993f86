"""Asks an OpenAI-compatible endpoint for completions: many at a time, and each request once.

A completion is stored before it counts. Failures of the endpoint are retried with growing pauses, and then stop the
run; they never become a score. A request that the endpoint refuses as malformed or too long fails alone.
"""

from __future__ import annotations

import asyncio
import copy
import json
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import aiohttp
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from promptstill.endpoint.allowance import Allowance
from promptstill.endpoint.store import CallStore, Completion, Total
from promptstill.endpoint.url import on_this_machine
from promptstill.errors import InfrastructureError, RequestRefused, UserError
from promptstill.files import digest

REFUSED_STATUSES = (400, 413, 422)  # of HTTP: the fault is in this one request
MAX_ATTEMPTS = 30  # for one request, while others are answered
WAITING_THREADS = 32  # twice a judge's window
MIN_KEY = 8  # letters; a shorter one, such as "none", is no secret but a word of the message


class AttemptFailed(Exception):
    """An attempt failed in a way that another may not: no connection, a busy server, a broken answer."""


@dataclass(frozen=True)
class Endpoint:
    """Where completions come from.

    identity: of the weights; a stored call is used for the same weights only.
    key_name: the environment variable with the key, for messages.
    window: the most requests in flight. timeout_s: for one answer.
    patience_s: how long no request may be answered before the endpoint counts as dead.
    exit_report: the last lines of the server's log once it has ended, else None.
    """

    base_url: str
    identity: str
    api_key: str | None = field(default=None, repr=False)
    key_name: str = "OPENAI_API_KEY"
    window: int = 64
    timeout_s: float = 600.0
    patience_s: float = 60.0
    exit_report: Callable[[], str | None] = field(default=lambda: None, compare=False)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}


class ShareSpent(Exception):
    """A part of a run asked for more calls than its share."""


class Client:
    """Asks one endpoint, with at most `window` requests in flight; the next is sent as soon as one is answered.

    threads: for work that waits for another model while the requests go on; none starts before there is such work.
    """

    def __init__(self, endpoint: Endpoint, store: CallStore, allowance: Allowance) -> None:
        self.endpoint, self.store, self.allowance = endpoint, store, allowance
        self._slots = asyncio.Semaphore(endpoint.window)
        self._pending: dict[str, asyncio.Future[Completion]] = {}
        self._answered_at = time.monotonic()
        self._session: aiohttp.ClientSession | None = None
        self.threads = ThreadPoolExecutor(WAITING_THREADS, "waiting")
        self._share: float = math.inf

    def share(self, calls: int) -> Client:
        """This client, for a part of the run that may take up to `calls`; stored replies are free.

        Its `complete` raises `ShareSpent` for one more. It ends with this client.
        """
        part = copy.copy(self)
        part._share = calls
        return part

    def paid_by(self, allowance: Allowance) -> Client:
        """This client, for a part of the run with an allowance of its own. It ends with this client."""
        part = copy.copy(self)
        part.allowance = allowance
        return part

    async def __aenter__(self) -> Client:
        self._session = open_session(self.endpoint)
        return self

    async def __aexit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.threads.shutdown(wait=False, cancel_futures=True)  # after a failure, what they wait for counts no more
        if self._session:
            await self._session.close()

    def find_stored(self, body: dict[str, Any]) -> Completion | None:
        """The stored completion of a chat request; None where it was not asked yet."""
        return self.store.get(self._call_key(body))

    def _call_key(self, body: dict[str, Any], sample: int = 0) -> str:
        return digest([self.endpoint.identity, body, *([sample] if sample else [])])

    async def complete(
        self, body: dict[str, Any], role: str, sample: int = 0, *, payer: Allowance | None = None
    ) -> Completion:
        """The completion of a chat request: from the store, from an equal request in flight, or from the endpoint.

        role: what the call is counted as. payer: counts it too, where it is paid for; a judge's client asks for several
        runs. sample: tells several samples of one request apart. It is not sent as `seed`: a seeded request whose
        prompt is prefilled in chunks kills vLLM's CPU worker ("CPU Generator does not use offset", vLLM 0.32).

        Raises `LimitReached`, `RequestRefused`, `UserError` (key, model) or `InfrastructureError` (endpoint, disk).
        """
        key = self._call_key(body, sample)
        stored = self.store.get(key)
        if stored:
            self.allowance.reuse()
            return stored
        if key in self._pending:
            return await asyncio.shield(self._pending[key])
        if self._share < 1:
            raise ShareSpent
        self._share -= 1
        future = self._pending[key] = asyncio.get_running_loop().create_future()
        try:
            completion = await self._ask_and_store(key, body, role, payer)
            future.set_result(completion)
            return completion
        except BaseException as error:
            if isinstance(error, Exception):
                future.set_exception(error)
                future.exception()  # marks it as retrieved, since no other request may wait for it
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

    async def _ask_and_store(self, key: str, body: dict[str, Any], role: str, payer: Allowance | None) -> Completion:
        async with self._slots:
            self.allowance.reserve()
            try:
                completion: Completion = await self._retrying()(self._post, body)
                self.store.put(key, role, body, completion)
                cost = Total(1, completion.prompt_tokens, completion.completion_tokens)
                self.allowance.pay(role, cost)
                if payer:
                    payer.pay(role, cost)
                return completion
            finally:
                self.allowance.release()

    def _retrying(self) -> AsyncRetrying:
        return AsyncRetrying(
            retry=retry_if_exception_type(AttemptFailed),
            wait=wait_random_exponential(multiplier=0.25, max=8),
            stop=self._give_up,
            retry_error_callback=self._stop_run,
        )

    def _give_up(self, state: RetryCallState) -> bool:
        """While others are answered, a request may try often; where none is, the endpoint counts as dead."""
        silent_s = time.monotonic() - max(self._answered_at, state.start_time)
        dead = state.attempt_number >= 3 and silent_s > self.endpoint.patience_s
        return self.endpoint.exit_report() is not None or state.attempt_number >= MAX_ATTEMPTS or dead

    def _stop_run(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        raise no_answer_error(self.endpoint, error) from error

    async def _post(self, body: dict[str, Any]) -> Completion:
        began = time.monotonic()
        try:
            async with self.session.post(f"{self.endpoint.base_url}/chat/completions", json=body) as response:
                text = await response.text()
                raise_for_status(self.endpoint, response.status, text)
                completion = read_completion(text, time.monotonic() - began)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise AttemptFailed(f"{type(error).__name__}: {error}") from error
        self._answered_at = time.monotonic()
        return completion


async def served_models(endpoint: Endpoint) -> list[dict[str, Any]]:
    """What the endpoint lists under /models. Raises at once where it does not answer or refuses the key."""
    try:
        async with open_session(endpoint) as session, session.get(f"{endpoint.base_url}/models") as response:
            raise_for_status(endpoint, response.status, await response.text())
            return list((await response.json(content_type=None))["data"])
    except (
        aiohttp.ClientError,
        TimeoutError,
        AttemptFailed,
        RequestRefused,
        ValueError,
        KeyError,
        TypeError,
    ) as error:
        raise no_answer_error(endpoint, error) from error


def open_session(endpoint: Endpoint) -> aiohttp.ClientSession:
    """A session for the endpoint; without a proxy where it is on this machine, which a proxy does not reach."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=endpoint.timeout_s, sock_connect=10),
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
        headers=endpoint.headers,
        trust_env=not on_this_machine(endpoint.base_url),
    )


def raise_for_status(endpoint: Endpoint, status: int, text: str) -> None:
    """Raise for a failed request: `UserError`, `RequestRefused`, or `AttemptFailed` where a retry may help."""
    if status < 300:
        return
    answer = f"{endpoint.base_url} answered {status}: {without_key(endpoint, error_message(text))}"
    if status in (401, 403):
        raise UserError("The endpoint refused the API key.", answer, f"Set it: export {endpoint.key_name}=…")
    if status == 404:
        raise UserError("The endpoint does not know that model or path.", answer, "Check --model and --base-url.")
    if status in REFUSED_STATUSES:
        raise RequestRefused(answer)
    raise AttemptFailed(answer)


def without_key(endpoint: Endpoint, message: str) -> str:
    """An endpoint's message, without the key that it may repeat: messages are printed, and stored with a row."""
    key = endpoint.api_key or ""
    return message.replace(key, f"${endpoint.key_name}") if len(key) >= MIN_KEY else message


def no_answer_error(endpoint: Endpoint, error: BaseException | None) -> InfrastructureError:
    """The error for an endpoint that does not answer, with its exit report where it has one."""
    report = endpoint.exit_report()
    return InfrastructureError(
        f"The endpoint {endpoint.base_url} does not answer.",
        f"Last failure: {error}" + (f"\n{report}" if report else ""),
        "Check that it runs, then go on with --resume RUN: no stored call is repeated.",
    )


def read_completion(text: str, seconds: float) -> Completion:
    """The first choice of a chat completion. Raises `AttemptFailed` where the body is none."""
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
        raise AttemptFailed(f"the reply is no chat completion: {text[:200]!r}") from error


def error_message(text: str) -> str:
    """The message in the body of an OpenAI error, or else the beginning of the body."""
    try:
        body = json.loads(text)
        error = body.get("error", body)
        return str(error.get("message", error) if isinstance(error, dict) else error)[:500]
    except (ValueError, AttributeError):
        return text[:300]
