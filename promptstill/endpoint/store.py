"""The store of paid calls: every completion of a run under the hash of its request, so that no request is sent twice.

`CallStore` is what the client and its callers know of a store; promptstill/endpoint/stores/ has the stores themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Completion:
    """A model's reply and what it cost.

    seconds: how long its call took. reasoning: what the model thought before it answered, which is never read as its
    answer. reasoning_tokens: of these thoughts, where the endpoint counts them apart; completion_tokens has them too.
    log_probs: where the request asked for them, for each token of the reply the log-probabilities (natural) by token,
    as the endpoint names tokens; its own is the first. None where there are none.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    seconds: float
    reasoning: str = ""
    reasoning_tokens: int = 0
    log_probs: list[dict[str, float]] | None = None


@dataclass(frozen=True)
class Total:
    """The number of calls, and their tokens."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Total) -> Total:
        return Total(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )


class CallStore(Protocol):
    """Where completions are stored, for several processes at once. Every method may raise `InfrastructureError`, where
    the disk or the server behind the store fails: that stops the run and never costs a score.
    """

    def get(self, key: str) -> Completion | None:
        """The completion that was stored under a request's hash, or None."""

    def put(self, key: str, role: str, body: dict[str, Any], completion: Completion) -> None:
        """Store a completion; it is safe from `kill -9` once this returns. Under a key that has one, the first stays.

        role: what the call is counted as. body: the request, for a reader of the store.
        """

    def totals(self) -> dict[str, Total]:
        """Calls and tokens by role, of all processes that used the store."""

    def working_seconds(self, role: str | None = None) -> float:
        """How long the calls of a role, or of all, took altogether (seconds): from each answer to the next, without
        pauses of more than a minute.
        """

    def close(self) -> None:
        """Give back what the store holds open."""
