"""Asks an endpoint or a provider for completions: many at a time, and each request once.

A completion is stored before it counts. Requests go as fast as the endpoint allows (rate.py). Failures of the endpoint
are retried with growing pauses, and then stop the run; they never become a score. A request that the endpoint refuses
as malformed or too long fails alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

import aiohttp
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from promptstill.dialect import VLLM, Dialect
from promptstill.endpoint.allowance import Allowance, LimitReached
from promptstill.endpoint.answers import AttemptFailed, EmptyReply, TooManyRequests, is_lost, read_completions
from promptstill.endpoint.endpoint import Endpoint, open_session
from promptstill.endpoint.failures import no_answer_error, raise_for_status, too_slow_error
from promptstill.endpoint.hosted import is_hosted
from promptstill.endpoint.litellm_client import ask_provider
from promptstill.endpoint.rate import Pacer
from promptstill.endpoint.store import CallStore, Completion, Total
from promptstill.errors import RequestRefused
from promptstill.files import digest

MAX_ATTEMPTS = 30  # for one request, while others are answered
EMPTY_ATTEMPTS = 3
WAITING_THREADS = 32  # twice a judge's window


class ShareSpent(Exception):
    """A part of a run asked for more calls than its share."""


class Client:
    """Asks one endpoint, with at most `window` requests in flight; the next is sent as soon as one is answered.

    threads: for work that waits for another model while the requests go on; none starts before there is such work.
    dialects, gives_choices: what the endpoint takes, by model, and whether it gives several choices (choices.py), as
    far as that has been found out. draws: how often each row is asked where it is scored, for an endpoint whose replies
    are samples.
    """

    def __init__(self, endpoint: Endpoint, store: CallStore, allowance: Allowance, *, draws: int = 1) -> None:
        self.endpoint, self.store, self.allowance, self.draws = endpoint, store, allowance, draws
        self.pacer = Pacer(endpoint.window, endpoint.first_window)
        self.dialects: dict[str, Dialect] = {}
        self.gives_choices: dict[str, bool] = {}
        self.finding_out = asyncio.Lock()
        self._pending: dict[str, asyncio.Future[Completion]] = {}
        self._session: aiohttp.ClientSession | None = None
        self.threads = ThreadPoolExecutor(WAITING_THREADS, "waiting")
        self._share: float = math.inf

    def share(self, calls: int) -> Client:
        """This client, for a part of the run that may take up to `calls`; stored replies are free. It asks a row once.

        Its `complete` raises `ShareSpent` for one more. It ends with this client.
        """
        part = copy.copy(self)
        part._share, part.draws = calls, 1
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

    def spoken(self, body: dict[str, Any]) -> dict[str, Any]:
        """A request, written for vLLM, as the endpoint takes it of the request's model, as far as that is known."""
        return self.dialects.get(body["model"], VLLM).apply(body)

    def find_stored(self, body: dict[str, Any], sample: int = 0) -> Completion | None:
        """The stored completion of a chat request; None where it was not asked yet."""
        return self.store.get(self._call_key(body, sample))

    def is_unasked(self, body: dict[str, Any], sample: int = 0) -> bool:
        """Whether a completion is neither stored nor asked for just now."""
        key = self._call_key(body, sample)
        return key not in self._pending and self.store.get(key) is None

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
        while key in self._pending:
            with contextlib.suppress(LimitReached):  # of the part that asks it; this one may have calls left
                if (joined := await self._join(self._pending[key])) is not None:
                    return joined
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

    async def _join(self, asked: asyncio.Future[Completion]) -> Completion | None:
        """The completion of an equal request in flight; None where it was cancelled before it was answered."""
        try:
            return await asyncio.shield(asked)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not asked.cancelled() or (task and task.cancelling()):
                raise
            return None

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("use the client in an async with block")
        return self._session

    async def _ask_and_store(self, key: str, body: dict[str, Any], role: str, payer: Allowance | None) -> Completion:
        async with self.pacer.slot():
            self.allowance.reserve()
            try:
                completion = (await self._ask(body))[0]
                self._store_and_pay(key, body, role, completion, payer)
                return completion
            finally:
                self.allowance.release()

    def _store_and_pay(
        self, key: str, body: dict[str, Any], role: str, completion: Completion, payer: Allowance | None = None
    ) -> None:
        self.store.put(key, role, body, completion)
        cost = Total(1, completion.prompt_tokens, completion.completion_tokens)
        self.allowance.pay(role, cost)
        if payer:
            payer.pay(role, cost)

    async def ask_choices(self, body: dict[str, Any], role: str, samples: Sequence[int]) -> list[Completion | None]:
        """The completions of samples that nobody has asked for yet, by one request with `n`; None for a lost reply.

        Each is stored as `complete` would store it, and counts as a call. There are as many as the endpoint gives and
        the limits allow. Raises as `complete` does.
        """
        if self._share < len(samples):
            raise ShareSpent
        futures = {self._call_key(body, sample): asyncio.get_running_loop().create_future() for sample in samples}
        self._pending |= futures
        try:
            async with self.pacer.slot():
                with self.allowance.reserved(len(samples)) as allowed:
                    given = await self._ask(body | {"n": allowed} if allowed > 1 else body)
                    found = [None if is_lost(one) else one for one in given[:allowed]]
                    for (key, future), one in zip(futures.items(), found, strict=False):
                        if one is not None:
                            self._store_and_pay(key, body, role, one)
                            future.set_result(one)
            self._share -= len(found)
            return found
        finally:
            for key, future in futures.items():
                del self._pending[key]
                future.cancel()  # who waits for one that did not come asks for it then

    async def _ask(self, body: dict[str, Any]) -> list[Completion]:
        """The choices; a single one without a token is asked for again, then taken as it is."""
        for _ in range(EMPTY_ATTEMPTS):
            try:
                choices: list[Completion] = await self._retrying()(self._post_in_turn, body)
                return choices
            except EmptyReply as empty:
                nothing = [empty.completion]
        return nothing

    def _retrying(self) -> AsyncRetrying:
        return AsyncRetrying(
            retry=retry_if_exception_type(AttemptFailed),
            wait=wait_random_exponential(multiplier=0.25, max=8),
            stop=self._give_up,
            retry_error_callback=self._stop_run,
        )

    def _give_up(self, state: RetryCallState) -> bool:
        """While others are answered, a request may try often; where none is, the endpoint counts as dead."""
        dead = state.attempt_number >= 3 and self._silent_s(state.start_time) > self.endpoint.patience_s
        return self.endpoint.exit_report() is not None or state.attempt_number >= MAX_ATTEMPTS or dead

    def _stop_run(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        raise no_answer_error(self.endpoint, error) from error

    def _silent_s(self, since: float) -> float:
        """How long no request was answered, since a time at the earliest."""
        return time.monotonic() - max(self.pacer.answered_at, since)

    async def _post_in_turn(self, body: dict[str, Any]) -> list[Completion]:
        """Post when the pacer says, and again as often as the endpoint asks for less haste."""
        began: float | None = None
        while True:
            admission = await self.pacer.admit()
            began = time.monotonic() if began is None else began
            try:
                choices = await self._post(body, self.endpoint.patience_s if admission.scout else None)
            except TooManyRequests as refusal:
                self.pacer.refused(admission, refusal.wait_s)
                wait_s = self._silent_s(began) if refusal.wait_s is None else refusal.wait_s
                if max(wait_s, self._silent_s(began)) > self.endpoint.patience_s:
                    raise too_slow_error(self.endpoint, refusal) from refusal
            except BaseException:
                self.pacer.failed(admission)
                raise
            else:
                self.pacer.answered(admission)
                return choices

    async def _post(self, body: dict[str, Any], timeout_s: float | None) -> list[Completion]:
        """The endpoint's choices. timeout_s: a shorter time for it than the endpoint's."""
        began = time.monotonic()
        total = min(timeout_s or self.endpoint.timeout_s, self.endpoint.timeout_s)
        if is_hosted(self.endpoint.base_url):
            text = await ask_provider(self.endpoint, body, total)
        else:
            text = await self._send(body, total)
        choices = read_completions(text, time.monotonic() - began)
        self.pacer.answered_at = time.monotonic()
        return choices

    async def _send(self, body: dict[str, Any], timeout_s: float) -> str:
        """The text of an OpenAI-compatible endpoint's answer."""
        url = f"{self.endpoint.base_url}/chat/completions"
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=10)
        try:
            async with self.session.post(url, json=body, timeout=timeout) as response:
                text = await response.text()
                raise_for_status(self.endpoint, response.status, text, response.headers)
                return text
        except (aiohttp.ClientError, TimeoutError) as error:
            raise AttemptFailed(f"{type(error).__name__}: {error}") from error


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
        TooManyRequests,
        RequestRefused,
        ValueError,
        KeyError,
        TypeError,
    ) as error:
        raise no_answer_error(endpoint, error) from error
