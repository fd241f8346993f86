"""A judge: a model that marks answers, for a metric. It is asked each question once, and no mark is guessed.

A metric is an ordinary function, called while the run's own requests are in flight. So a judge has a thread with an
event loop of its own, and asks through the same client as the run: many requests at once, with retries, and equal
questions once. Its replies are stored in the user's cache, for later runs too. A call counts in the allowance of the
run whose metric asked, under the role `judge`.
"""

from __future__ import annotations

import asyncio
import atexit
import re
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from promptstill.dialect import VLLM
from promptstill.endpoint.allowance import JUDGE, Allowance
from promptstill.endpoint.hosted import OWN_KEY, find_hosted, is_hosted
from promptstill.endpoint.store import Completion, Total
from promptstill.endpoint.url import split_model
from promptstill.errors import ReplyError, RequestRefused, UserError
from promptstill.files import digest
from promptstill.task.metrics.apply import is_judge
from promptstill.task.recipe import Metric

Result = TypeVar("Result")
TRIES = 3
FIRST_QUESTIONS = 10  # a judge that marks none of them can mark nothing
SHOWN = 300  # characters of a reply
TIMEOUT_S = 180.0  # for one mark
THINKING = re.compile(r"<think>.*?(</think>|$)", re.DOTALL)
SCALE = re.compile(r"\(?\b[01]\s*(?:-|–|to)\s*\d+\b\)?")
NUMBER = r"(?<![\d.])(-?\d+(?:\.\d+)?)(?:\s*(?:/|out of)\s*(\d+))?"
NAMED_MARK = re.compile(rf"\b(?:score|mark|rating|grade)\b[^\d\n-]{{0,20}}{NUMBER}", re.IGNORECASE)
MARK_OF_TOTAL = re.compile(r"(?<![\d.])(-?\d+(?:\.\d+)?)\s*(?:/|out of)\s*(\d+)")
BARE_NUMBER = re.compile(rf"\W*?{NUMBER}\W*")
_payer: ContextVar[Allowance | None] = ContextVar("payer", default=None)


@dataclass(frozen=True)
class JudgeAt:
    """A judge in place of those that a recipe names. base_url, api_key_env: None leaves the recipe's."""

    model: str
    base_url: str | None = None
    api_key_env: str | None = None


@dataclass(frozen=True)
class Replacement:
    """The judge that a recipe is loaded with, and the judges that it has made by then."""

    at: JudgeAt
    made: list[Judge]


_replacement: ContextVar[Replacement | None] = ContextVar("replacement", default=None)


def to_judge(text: str | None, key_env: str | None, model_key_env: str) -> JudgeAt | None:
    """The judge of `MODEL`, `MODEL@URL` or a provider's model; None for no text.

    key_env: the variable with its key; without one, at a URL of its own, the model's. Raises `UserError` for a key
    without a judge.
    """
    if text:
        model, url = split_model(text)
        if url is None and (hosted := find_hosted(model)):
            return JudgeAt(model, hosted.url, key_env or OWN_KEY)
        return JudgeAt(model, url, key_env or (model_key_env if url else None))
    if key_env:
        raise UserError(
            f"--api-key-env judge={key_env} is for --judge MODEL@URL.",
            "Else the recipe says which key its judge has: Judge(…, api_key_env=…).",
            "Name the judge too.",
        )
    return None


@contextmanager
def judges_at(at: JudgeAt | None) -> Iterator[None]:
    """Within it, each judge that a recipe makes is the one at `at`. None leaves the recipe's own."""
    token = _replacement.set(Replacement(at, []) if at else None)
    try:
        yield
    finally:
        _replacement.reset(token)


def refuse_idle_judge(metric: Metric) -> None:
    """Refuse a judge of `judges_at` that a recipe with this metric, just loaded, would not ask. Raises `UserError`."""
    replacement = _replacement.get()
    if replacement and not (is_judge(metric) and replacement.made):
        raise UserError(
            f"--judge {replacement.at.model} would not be asked.",
            "The recipe's metric makes no Judge while the recipe is loaded."
            if is_judge(metric)
            else "The recipe's metric asks no model.",
            "Leave --judge out, or mark answers by a Judge, as recipes/judge.py does.",
        )


def refuse_other_judge(recorded: object, path: object) -> None:
    """Refuse to compare marks with those in a best.json, where other judges gave them. recorded: what it says of its
    judge. Raises `UserError`."""
    replacement = _replacement.get()
    asked = replacement.at.model if replacement else None
    before = split_model(str(recorded))[0] if recorded else None
    if asked != before:
        raise UserError(
            f"The scores in {path} are marks of {before or 'the judge that the recipe names'}.",
            "Marks of two judges cannot be compared.",
            f"Name that judge: --judge {recorded}" if recorded else "Leave --judge out.",
        )


@contextmanager
def judge_paid_by(allowance: Allowance) -> Iterator[None]:
    """Within it, what judges are asked counts in `allowance`, without what is stored already.

    A metric is the user's function and knows of no run, so this is a context variable. It holds in this thread alone:
    one that a metric starts itself must copy the context, or its questions count nowhere.
    """
    token = _payer.set(allowance)
    try:
        yield
    finally:
        _payer.reset(token)


def judge_note(cost: Total) -> str:
    """What judges cost, for the end of a run; empty where they were paid for nothing."""
    if not cost.calls:
        return ""
    return f"besides, {cost.calls:,} calls of the judge, {cost.tokens:,} tokens; limits count these too"


class Judge:
    """A model that marks answers, at an OpenAI-compatible endpoint. Nothing is opened before the first question.

    `--judge` puts another in its place, where the recipe makes it while it is loaded.

    base_url: ends in /v1. api_key_env: the environment variable with the key. max_tokens: of its reply.
    window: the most requests in flight. Raises `UserError` where the address or the model's name is missing.
    """

    def __init__(
        self, base_url: str, model: str, *, api_key_env: str = "OPENAI_API_KEY", max_tokens: int = 512, window: int = 16
    ) -> None:
        if replacement := _replacement.get():
            at = replacement.at
            base_url, model, api_key_env = at.base_url or base_url, at.model, at.api_key_env or api_key_env
            replacement.made.append(self)
        has_address = base_url.startswith("http") or is_hosted(base_url)
        if not has_address or not model:
            raise UserError(
                f"The judge has no {'name' if has_address else 'address'}.",
                "It is a model at an OpenAI-compatible endpoint, best a stronger one than the task's own.",
                "Name both: -p judge_url=http://127.0.0.1:8000/v1 -p judge_model=NAME",
            )
        self.base_url, self.model, self.api_key_env = base_url.rstrip("/"), model, api_key_env
        self.max_tokens, self.window = max_tokens, window
        self._lock = threading.Lock()
        self._client: JudgeClient | None = None
        self._marks = self._markless = 0

    def mark(self, question: str, highest: float = 10) -> float:
        """The mark in the judge's reply as a share of `highest`: from 0.0 to 1.0. Raises as `review` does."""
        return self.review(question, highest)[0]

    def review(self, question: str, highest: float = 10) -> tuple[float, str]:
        """The mark, as `mark` gives it, and the reply without its thinking, which says why: what a metric may return.

        Where a reply holds no mark, the judge is asked again, at temperature 0.7. Raises `ReplyError` after three such
        replies, and `UserError` where none of the first questions had a mark: scores would be zero for that alone.
        """
        for sample in range(TRIES):
            reply = self.ask(question, sample)
            try:
                mark = read_mark(reply, highest)
            except ReplyError as error:
                failure = error
            else:
                self._count(marks=1)
                return mark, THINKING.sub("", reply).strip()
        if self._count(markless=1):
            raise UserError(
                f"The judge {self.model} gave no mark to the first {FIRST_QUESTIONS} answers.",
                f"One of its replies: {reply[-SHOWN:]!r}",
                'Let the question end with the form of a mark, such as "Score: N"; or name a stronger judge.',
            ) from failure
        raise failure

    def _count(self, *, marks: int = 0, markless: int = 0) -> bool:
        """Count an answer; whether all of the first ones are without a mark."""
        with self._lock:
            self._marks, self._markless = self._marks + marks, self._markless + markless
            return not self._marks and self._markless >= FIRST_QUESTIONS

    def ask(self, question: str, sample: int = 0) -> str:
        """The judge's reply: greedy, or sampled where `sample` is not 0. Raises what `Client.complete` raises."""
        body: dict[str, Any] = {"model": self.model, "messages": [{"role": "user", "content": question}]}
        body |= {"temperature": 0.7 if sample else 0.0, "max_tokens": self.max_tokens}
        with self._lock:
            client = self._client = self._client or JudgeClient(self)
        return client.complete(body, sample)

    def close(self) -> None:
        """End the thread; the next question would start another."""
        with self._lock:
            client, self._client = self._client, None
        if client:
            client.close()


class JudgeClient:
    """The judge's thread, the event loop in it, and the client that runs there."""

    def __init__(self, judge: Judge) -> None:
        from promptstill.endpoint.client import Client
        from promptstill.endpoint.stores import file_url, open_calls
        from promptstill.engine.models import cache_root
        from promptstill.engine.source import ModelSource

        cache_root().mkdir(parents=True, exist_ok=True)
        self.store = open_calls(file_url(cache_root() / "judge.db"))
        identity = digest(["judge", judge.base_url, judge.model])
        endpoint = ModelSource(judge.base_url, judge.api_key_env, judge.window).endpoint(identity)
        self.client = Client(replace(endpoint, timeout_s=TIMEOUT_S), self.store, Allowance())
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="judge", daemon=True)
        self.thread.start()
        self._run(self.client.__aenter__())
        atexit.register(self.close)

    def complete(self, body: dict[str, Any], sample: int) -> str:
        """The reply's text, from the store or from the endpoint, in whatever form that takes the question."""
        return self._run(self._ask(body, sample, _payer.get())).text

    async def _ask(self, body: dict[str, Any], sample: int, payer: Allowance | None) -> Completion:
        from promptstill.endpoint.dialect import find_dialect

        async def ask(sent: dict[str, Any]) -> Completion:
            return await self.client.complete(sent, JUDGE, sample, payer=payer)

        dialects, model = self.client.dialects, str(body["model"])
        try:
            return await ask(self.client.spoken(body))
        except RequestRefused:
            known = dialects.get(model, VLLM)  # another question may have found it meanwhile
            found, reply = await find_dialect(ask, body, known)
            dialects[model] = found
            has_no_room = found.thinking_tokens and not known.thinking_tokens
            return await ask(found.apply(body)) if has_no_room else reply

    def close(self) -> None:
        """Close the connection, the loop and the store."""
        atexit.unregister(self.close)
        self._run(self._end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
        self.store.close()

    async def _end(self) -> None:
        await self.client.__aexit__(None, None, None)
        others = asyncio.all_tasks() - {asyncio.current_task()}  # LiteLLM leaves one
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()


def read_mark(text: str, highest: float = 10) -> float:
    """The mark in a judge's reply, as a share of `highest` (or of N in "7/N"), from 0 to 1.

    It is the last number after "score", "mark", "rating" or "grade", also in JSON; or else the last "7/10" or
    "7 out of 10"; or else a number that is the whole reply. Text in <think> does not count. Raises `ReplyError`.
    """
    reply = SCALE.sub("", THINKING.sub("", text)).strip()
    matches = list(NAMED_MARK.finditer(reply)) or list(MARK_OF_TOTAL.finditer(reply))
    mark = matches[-1] if matches else BARE_NUMBER.fullmatch(reply)
    if mark is None:
        raise ReplyError(f"the judge's reply holds no mark: {text[-80:]!r}")
    share = float(mark[1]) / (float(mark[2] or highest) or 1.0)
    if not 0 <= share <= 1:
        raise ReplyError(f"the judge's mark {mark[0].strip()!r} is not from 0 to {highest:g}")
    return share
