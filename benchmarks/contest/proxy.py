"""A counting proxy before an OpenAI-compatible endpoint: each run gets an account under its own path.

    http://127.0.0.1:PORT/<account>/v1/chat/completions

An account counts the completions that were answered, and the tokens that the endpoint's `usage` names; no contestant's
own count is trusted. Beyond its cap a call is refused with 403, which clients do not repeat. For the curve it notes
what was spent when each of its marks was reached. Streaming is refused, since it would hide usage.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from types import TracebackType
from typing import Any, Literal

import aiohttp
from aiohttp import web

from tests.support.loopback import run_application

REFUSED = "call_cap_reached"
LONGEST_BODY = 64 * 2**20


@dataclass(frozen=True)
class Spending:
    """What an account has used; `seconds` since it was opened."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0


@dataclass
class Account:
    """One run's calls. `cap` None is no limit; at each of `marks` calls the spending so far is noted."""

    cap: int | None = None
    marks: tuple[int, ...] = ()
    spent: Spending = field(default_factory=Spending)
    at_marks: dict[int, Spending] = field(default_factory=dict)
    in_flight: int = 0
    refused: int = 0
    opened: float = field(default_factory=time.monotonic)

    def enter(self) -> bool:
        """Begin a call; False, and counted as refused, where the cap leaves none."""
        if self.cap is not None and self.spent.calls + self.in_flight >= self.cap:
            self.refused += 1
            return False
        self.in_flight += 1
        return True

    def pay(self, usage: dict[str, Any]) -> None:
        """Count an answered call."""
        self.spent = Spending(
            self.spent.calls + 1,
            self.spent.prompt_tokens + int(usage.get("prompt_tokens") or 0),
            self.spent.completion_tokens + int(usage.get("completion_tokens") or 0),
            time.monotonic() - self.opened,
        )
        if self.spent.calls in self.marks:
            self.at_marks[self.spent.calls] = self.spent

    def at(self, mark: int) -> Spending:
        """What was spent when `mark` calls were made, or by now where fewer were."""
        return self.at_marks.get(mark, self.spent)

    def now(self) -> Spending:
        return replace(self.spent, seconds=time.monotonic() - self.opened)


class Proxy:
    """Serves on a free loopback port, in a thread of its own, for as long as the block runs."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream.rstrip("/")
        self.accounts: dict[str, Account] = {}
        self.port = 0
        self._open = ExitStack()

    def open(self, name: str, *, cap: int | None = None, marks: tuple[int, ...] = ()) -> Account:
        """A new account; one of the same name is replaced."""
        self.accounts[name] = Account(cap, marks)
        return self.accounts[name]

    def base_url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}/v1"

    def __enter__(self) -> Proxy:
        self.port = self._open.enter_context(run_application(self._application))
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()

    async def _application(self) -> web.Application:
        timeout = aiohttp.ClientTimeout(total=600, sock_connect=10)
        self._session = aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0))
        app = web.Application(client_max_size=LONGEST_BODY)
        app.router.add_get("/{account}/v1/models", self._models)
        app.router.add_get("/{account}/v1/spent", self._spent)
        app.router.add_post("/{account}/v1/chat/completions", self._complete)
        app.on_cleanup.append(self._close)
        return app

    async def _close(self, app: web.Application) -> None:
        await self._session.close()

    async def _models(self, request: web.Request) -> web.Response:
        return (await self._forward("GET", "/models", None, request))[1]

    async def _spent(self, request: web.Request) -> web.Response:
        account = self.accounts.get(request.match_info["account"])
        if account is None:
            return error(404, "no such account")
        return web.json_response({**asdict(account.now()), "refused": account.refused})

    async def _complete(self, request: web.Request) -> web.Response:
        account = self.accounts.get(request.match_info["account"])
        if account is None:
            return error(404, "no such account")
        try:
            body = await request.read()
        except ConnectionError:  # its sender has ended
            return error(400, "the request broke off")
        if b'"stream"' in body and json.loads(body).get("stream"):
            return error(400, "this endpoint does not stream")
        if not account.enter():
            return error(403, f"{REFUSED}: the cap of {account.cap} calls is reached")
        try:
            text, response = await self._forward("POST", "/chat/completions", body, request)
            if response.status == 200:
                account.pay(usage(text))
            return response
        finally:
            account.in_flight -= 1

    async def _forward(
        self, method: Literal["GET", "POST"], path: str, body: bytes | None, request: web.Request
    ) -> tuple[bytes, web.Response]:
        forwarded = ("Authorization", "Content-Type")
        headers = {name: request.headers[name] for name in forwarded if name in request.headers}
        try:
            async with self._session.request(method, self.upstream + path, data=body, headers=headers) as answer:
                text = await answer.read()
                return text, web.Response(body=text, status=answer.status, content_type="application/json")
        except (aiohttp.ClientError, TimeoutError) as failure:
            return b"", error(502, f"the endpoint did not answer: {failure}")


def usage(text: bytes) -> dict[str, Any]:
    """The tokens that a completion names; none where it names none."""
    try:
        return dict(json.loads(text).get("usage") or {})
    except (ValueError, AttributeError):
        return {}


def error(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "type": "proxy", "code": status}}, status=status)
