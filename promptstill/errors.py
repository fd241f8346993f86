"""All errors that reach a user, and the exit code of each.

A mistake of the user is a `UserError`: three sentences, exit code 2, no traceback. A failure of engine, endpoint or
disk is an `InfrastructureError`: exit code 1. A reply that cannot be read is a `ReplyError`, and a request that
the endpoint refuses a `RequestRefused`: they give one row the score zero, are counted, and never end a run.
"""

from __future__ import annotations


class PromptstillError(Exception):
    """What went wrong, why, and what to do about it: three sentences, which the command prints as they are."""

    exit_code = 1

    def __init__(self, what: str, why: str = "", do: str = "") -> None:
        super().__init__(what, why, do)
        self.what, self.why, self.do = what, why, do

    def __str__(self) -> str:
        return "\n".join(line for line in (self.what, self.why, self.do) if line)


class UserError(PromptstillError):
    """A mistake that the user can correct: in a file, a row or an option."""

    exit_code = 2


class InfrastructureError(PromptstillError):
    """The engine, the endpoint or the disk failed; no score comes of it."""


class ReplyError(ValueError):
    """A model's reply does not hold the prompt's outputs."""


class RequestRefused(Exception):
    """The endpoint refused one request as malformed or too long (HTTP 400, 413 or 422)."""
