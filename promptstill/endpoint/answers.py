"""What an endpoint's answer over HTTP means: a completion, or which kind of failure."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from email.utils import parsedate_to_datetime
from itertools import pairwise
from typing import Any

from promptstill.endpoint.store import Completion

DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
UNITS_S = (86_400.0, 3_600.0, 60.0, 1.0, 0.001)
KINDS = ("requests", "tokens")  # of the usual headers, x-ratelimit-remaining-requests and so on
# Of Qwen, DeepSeek and others; of Magistral.
THOUGHTS_BEGIN = re.compile(r"\s*(?:<think>|\[THINK\])")
THOUGHTS_END = re.compile(r"</think>|\[/THINK\]")
RETRY_DELAY = re.compile(r'\\?"retryDelay\\?": *\\?"([\d.]+s)')  # also as text within JSON
EPOCH_S, EPOCH_MS = 1e9, 1e11  # numbers above these are times, no seconds to wait


class AttemptFailed(Exception):
    """An attempt failed in a way that another may not: no connection, a busy server, a broken answer."""


class EmptyReply(Exception):
    """An answer without a single token. The model may mean it, but more often a gateway lost the reply."""

    def __init__(self, completion: Completion) -> None:
        super().__init__("the reply has no token")
        self.completion = completion


class TooManyRequests(Exception):
    """The endpoint is asked too fast. wait_s: how long it asks to wait; None where it does not say."""

    def __init__(self, answer: str, wait_s: float | None) -> None:
        super().__init__(answer)
        self.wait_s = wait_s


def read_completions(text: str, seconds: float) -> list[Completion]:
    """The choices of a chat completion. Raises `AttemptFailed` where there is none, `EmptyReply` where the only one has
    no token.

    An answer counts the tokens of all choices together: those of the prompt are the first choice's here, those of the
    reply are shared out by length.
    """
    try:
        body = json.loads(text)
        usage = body.get("usage") or {}
        found = [read_choice(choice, seconds) for choice in body["choices"]]
        first, *others = share_usage(found, usage)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise AttemptFailed(f"the reply is no chat completion: {text[:200]!r}") from error
    if not others and is_lost(first):
        raise EmptyReply(first)
    return [first, *others]


def read_choice(choice: Mapping[str, Any], seconds: float) -> Completion:
    """One choice, its tokens not counted yet."""
    message = choice["message"]
    content, parts = read_content(message.get("content") or "")
    inline, answer = split_thoughts(content)
    beside = message.get("reasoning") or message.get("reasoning_content") or parts
    return Completion(
        text=answer.lstrip() if beside else answer,
        finish_reason=choice.get("finish_reason") or "",
        prompt_tokens=0,
        cached_tokens=0,
        completion_tokens=0,
        seconds=seconds,
        reasoning=beside or inline,
        log_probs=read_log_probs(choice.get("logprobs")),
    )


def share_usage(found: Sequence[Completion], usage: Mapping[str, Any]) -> list[Completion]:
    """The choices with their parts of what the answer counts; the parts add up to it. The prompt's tokens are those of
    the first choice that has a token itself, since a lost one is not counted."""
    of_prompt, of_reply = (usage.get(f"{part}_tokens_details") or {} for part in ("prompt", "completion"))
    lengths = [len(one.text) + len(one.reasoning) for one in found]
    replies = share_out(int(usage.get("completion_tokens") or 0), lengths)
    thoughts = share_out(int(of_reply.get("reasoning_tokens") or 0), lengths)
    counted = [
        replace(one, completion_tokens=tokens, reasoning_tokens=thinking)
        for one, tokens, thinking in zip(found, replies, thoughts, strict=True)
    ]
    prompt, cached = int(usage.get("prompt_tokens") or 0), int(of_prompt.get("cached_tokens") or 0)
    first = next((number for number, one in enumerate(counted) if not is_lost(one)), 0)
    counted[first] = replace(counted[first], prompt_tokens=prompt, cached_tokens=cached)
    return counted


def share_out(total: int, weights: Sequence[int]) -> list[int]:
    """A number in parts by weight; they add up to it."""
    ends = [sum(weights[: n + 1]) + n + 1 for n in range(len(weights))]  # one more each: nothing else may be known
    bounds = [0, *(total * end // ends[-1] for end in ends)]
    return [high - low for low, high in pairwise(bounds)]


def is_lost(completion: Completion) -> bool:
    """Whether a choice has no token at all."""
    nothing = not (completion.text or completion.reasoning or completion.completion_tokens)
    return nothing and completion.finish_reason in ("", "stop")


def read_log_probs(given: Any) -> list[dict[str, float]] | None:
    """A choice's `logprobs`, as `Completion` has them; None where it has none of this form."""
    try:
        tokens = [(token, *(token.get("top_logprobs") or ())) for token in given["content"]]
        return [{one["token"]: float(one["logprob"]) for one in token} for token in tokens] or None
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def read_content(content: Any) -> tuple[str, str]:
    """A message's text and its thoughts, where it is a list of parts as Mistral's thinking models send it; else all of
    it is text."""
    if isinstance(content, str):
        return content, ""
    texts = "".join(str(part.get("text") or "") for part in content)
    thoughts = [inner for part in content if part.get("type") == "thinking" for inner in part["thinking"]]
    return texts, "".join(str(inner.get("text") or "") for inner in thoughts)


def split_thoughts(text: str) -> tuple[str, str]:
    """A reply's thoughts and its answer. The thoughts end with `</think>` or `[/THINK]`; what began them may stand in
    the prompt, where the model's chat template writes it. What is cut in its thoughts has no answer.
    """
    opened, closed = THOUGHTS_BEGIN.match(text), THOUGHTS_END.search(text)
    if closed is None:
        return (text[opened.end() :].strip() or opened[0].strip(), "") if opened else ("", text)
    if opened is None and THOUGHTS_BEGIN.search(text):
        return "", text
    return text[opened.end() if opened else 0 : closed.start()].strip(), text[closed.end() :].lstrip()


def error_message(text: str) -> str:
    """The message in the body of an OpenAI error, or else the beginning of the body."""
    error = error_of(text)
    return str(error.get("message", error) if isinstance(error, dict) else error)[:500] if error else text[:300]


def error_code(text: str) -> str:
    """The code of an OpenAI error, or else its type; empty where it has neither."""
    error = error_of(text)
    return str(error.get("code") or error.get("type") or "") if isinstance(error, dict) else ""


def error_of(text: str) -> Any:
    """The error in a body; None where the body is no JSON object."""
    try:
        body = json.loads(text)
    except ValueError:
        return None
    return body.get("error", body) if isinstance(body, dict) else None


def wait_asked(headers: Mapping[str, str], text: str = "") -> float | None:
    """The seconds that an answer asks to wait; None where it does not say.

    `Retry-After` (RFC 9110, seconds or a date) and `retry-after-ms` come first, then the reset of what is used up by
    the `x-ratelimit-*` headers, as OpenAI documents them ("6m0s"), or a time since 1970; then Gemini's `retryDelay` in
    the answer's text.
    """
    if (milliseconds := to_number(headers.get("retry-after-ms"))) is not None:
        return max(milliseconds / 1000, 0.0)
    if after := headers.get("retry-after"):
        return retry_after(after)
    delay = RETRY_DELAY.search(text)
    return used_up(headers) or (reset_s(delay[1]) if delay else None)


def used_up(headers: Mapping[str, str]) -> float | None:
    """The seconds until what is used up is there again; None where nothing is."""
    waits = []
    for name in (*(f"-{kind}" for kind in KINDS), ""):
        if to_number(headers.get(f"x-ratelimit-remaining{name}")) == 0:
            waits.append(reset_s(headers.get(f"x-ratelimit-reset{name}", "")))
    return max((wait for wait in waits if wait is not None), default=None)


def retry_after(value: str) -> float | None:
    """Seconds, of a number or a date."""
    if (seconds := to_number(value)) is not None:
        return max(seconds, 0.0)
    try:
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except ValueError:
        return None


def reset_s(value: str) -> float | None:
    """Seconds, of a number, a duration such as 1m20.5s, or a time since 1970 in seconds or milliseconds."""
    number = to_number(value)
    if number is not None:
        at = number / 1000 if number > EPOCH_MS else number
        return max(at - time.time(), 0.0) if at > EPOCH_S else max(number, 0.0)
    found = DURATION.fullmatch(value.strip())
    if not found or not any(found.groups()):
        return None
    return sum(float(part) * unit for part, unit in zip(found.groups(), UNITS_S, strict=True) if part)


def to_number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
