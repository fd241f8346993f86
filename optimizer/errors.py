"""The failures that reach a user, each with its exit code.

A mistake of the user's is a `UserError`: three sentences, exit 2, no traceback. A failure of the machinery (the engine
did not start, the endpoint died) is an `InfrastructureError`: exit 1. A reply that cannot be read is a `ReplyError`,
which scores that one example zero and is counted; it never ends a run.
"""

from __future__ import annotations


class PromptstillError(Exception):
    """What went wrong, why, and what to do about it: three sentences that the command line prints as they are."""

    exit_code = 1

    def __init__(self, what: str, why: str = "", do: str = "") -> None:
        super().__init__(what, why, do)
        self.what, self.why, self.do = what, why, do

    def __str__(self) -> str:
        return "\n".join(line for line in (self.what, self.why, self.do) if line)


class UserError(PromptstillError):
    """The user can mend it: a file, a row, an option."""

    exit_code = 2


class InfrastructureError(PromptstillError):
    """The engine, the endpoint or the disk failed; nothing was scored with it."""


class BudgetReached(Exception):
    """A budget allows no further call; what is finished stays valid."""


class ReplyError(ValueError):
    """A model's reply that the prompt's reader cannot turn into outputs."""


class RequestRefused(Exception):
    """The endpoint refused one request as malformed or too long (HTTP 400, 413 or 422): that example's own failure."""
