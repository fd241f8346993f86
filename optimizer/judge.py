"""A model as the metric: a judge that is asked for a mark, once for each question.

A metric is an ordinary function that is called while the run's own requests are in flight. So the judge has an event
loop of its own, in a thread, and the run's wire upon it: many requests at once, retries, twins asked once. Its replies
are kept in the user's cache, for the next run too. They do not count against the run's budget; `paid` tells them.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import re
import threading
from typing import Any

from optimizer.budget import Budget, Meter
from optimizer.calls import Total
from optimizer.errors import ReplyError, UserError
from optimizer.files import digest

TRIES = 3
THOUGHT = re.compile(r"<think>.*?(</think>|$)", re.DOTALL)
SCALE = re.compile(r"\(?\b[01]\s*(?:-|–|to)\s*\d+\b\)?")
NUMBER = r"(?<![\d.])(-?\d+(?:\.\d+)?)(?:\s*(?:/|out of)\s*(\d+))?"
NAMED = re.compile(rf"\b(?:score|mark|rating|grade)\b[^\d\n-]{{0,20}}{NUMBER}", re.IGNORECASE)
SHARE = re.compile(r"(?<![\d.])(-?\d+(?:\.\d+)?)\s*(?:/|out of)\s*(\d+)")
ALONE = re.compile(rf"\W*?{NUMBER}\W*")
METERS: list[Meter] = []  # of the judges of this process


def paid() -> Total:
    """What the judges of this process were paid for so far."""
    return sum((meter.total for meter in METERS), Total())


class Judge:
    """A model at an OpenAI-compatible endpoint (`base_url` ends in /v1). Nothing is asked before the first question.

    `window` requests are in flight at most. Raises `UserError` where the address or the model's name is missing.
    """

    def __init__(
        self, base_url: str, model: str, *, api_key_env: str = "OPENAI_API_KEY", max_tokens: int = 512, window: int = 16
    ) -> None:
        if not base_url.startswith("http") or not model:
            raise UserError(
                f"The judge has no {'name' if base_url.startswith('http') else 'address'}.",
                "It is a model at an OpenAI-compatible endpoint, best another and a stronger one than the task's.",
                "Name both: -p judge_url=http://127.0.0.1:8000/v1 -p judge_model=NAME",
            )
        self.base_url, self.model, self.api_key_env = base_url.rstrip("/"), model, api_key_env
        self.max_tokens, self.window = max_tokens, window
        self._opening = threading.Lock()
        self._wire: Wire | None = None

    def mark(self, question: str, most: float = 10) -> float:
        """The mark in the judge's reply as a share of `most`: from 0.0 to 1.0.

        An unreadable reply is drawn again, at temperature 0.7. Raises `ReplyError` where three replies hold no mark.
        """
        for sample in range(TRIES):
            reply = self.ask(question, sample)
            try:
                return read_mark(reply, most)
            except ReplyError as error:
                unread = error
        raise unread

    def ask(self, question: str, sample: int = 0) -> str:
        """The judge's reply, greedy, or the `sample`th draw. Raises what `Client.complete` raises."""
        body: dict[str, Any] = {"model": self.model, "messages": [{"role": "user", "content": question}]}
        body |= {"temperature": 0.7 if sample else 0.0, "max_tokens": self.max_tokens}
        with self._opening:
            self._wire = self._wire or Wire(self)
        return self._wire.complete(body, sample)

    def close(self) -> None:
        """End the thread; the next question would start another."""
        with self._opening:
            wire, self._wire = self._wire, None
        if wire:
            wire.close()


class Wire:
    """The thread with its event loop, and the client upon it."""

    def __init__(self, judge: Judge) -> None:
        from optimizer.calls import SqliteCalls
        from optimizer.client import Client, Endpoint
        from optimizer.models import cache_root

        cache_root().mkdir(parents=True, exist_ok=True)
        self.store = SqliteCalls(cache_root() / "judge.db")
        identity = digest(["judge", judge.base_url, judge.model])
        key = os.environ.get(judge.api_key_env)
        endpoint = Endpoint(judge.base_url, identity, key, judge.api_key_env, window=judge.window, timeout_s=180)
        METERS.append(Meter(Budget(), {}))
        self.client = Client(endpoint, self.store, METERS[-1])
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="judge", daemon=True)
        self.thread.start()
        self._await(self.client.__aenter__())
        atexit.register(self.close)

    def complete(self, body: dict[str, Any], sample: int) -> str:
        """The reply's text: stored, or paid for."""
        return str(self._await(self.client.complete(body, "judge", sample)).text)

    def close(self) -> None:
        """Close the connection, the loop and the store."""
        atexit.unregister(self.close)
        self._await(self.client.__aexit__(None, None, None))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
        self.store.close()

    def _await(self, step: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(step, self.loop).result()


def read_mark(text: str, most: float = 10) -> float:
    """The mark in a judge's reply, as a share of `most` (or of N in "7/N"), in [0, 1].

    Read are, in this order and the last of each: a number after "score", "mark", "rating" or "grade" (so JSON too),
    "7/10" or "7 out of 10", a number that is the whole reply. Thoughts in <think> do not count. Raises `ReplyError`.
    """
    said = SCALE.sub("", THOUGHT.sub("", text)).strip()
    found = list(NAMED.finditer(said)) or list(SHARE.finditer(said))
    mark = found[-1] if found else ALONE.fullmatch(said)
    if mark is None:
        raise ReplyError(f"the judge's reply holds no mark: {text[-80:]!r}")
    share = float(mark[1]) / (float(mark[2] or most) or 1.0)
    if not 0 <= share <= 1:
        raise ReplyError(f"the judge's mark {mark[0].strip()!r} is not from 0 to {most:g}")
    return share
