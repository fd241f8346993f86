"""What a failed request means: whose fault it is, and whether to try again."""

from __future__ import annotations

from collections.abc import Mapping

from promptstill.endpoint.answers import AttemptFailed, TooManyRequests, error_code, error_message, wait_asked
from promptstill.endpoint.endpoint import Endpoint
from promptstill.endpoint.hosted import is_hosted
from promptstill.errors import InfrastructureError, RequestRefused, UserError
from promptstill.text import duration

REFUSED_STATUSES = (400, 413, 422)  # of HTTP: the fault is in this one request
BUSY_STATUSES = (503, 529)  # of HTTP: with Retry-After they mean what 429 does; 529 is Anthropic's
NO_QUOTA = ("insufficient_quota", "billing_not_active", "billing_hard_limit_reached")  # OpenAI's codes under 429
NO_CREDIT = "credit balance is too low"  # Anthropic's, under 400
NO_CHAT = "not a chat model"  # OpenAI's, under 404
NO_HEADERS: Mapping[str, str] = {}
MIN_KEY = 8  # letters; a shorter one, such as "none", is no secret but a word of the message


def raise_for_status(endpoint: Endpoint, status: int, text: str, headers: Mapping[str, str] = NO_HEADERS) -> None:
    """Raise for a failed request: `UserError`, `RequestRefused`, or, where another attempt may help, `TooManyRequests`
    or `AttemptFailed`."""
    if status < 300:
        return
    answer = f"{endpoint.base_url} answered {status}: {without_key(endpoint, error_message(text))}"
    if status == 402 or (status == 429 and error_code(text) in NO_QUOTA) or NO_CREDIT in error_message(text):
        raise UserError("The account of the API key has no money or quota left.", answer, "Add credit at the provider.")
    if status in (401, 403):
        raise UserError("The endpoint refused the API key.", answer, f"Set it: export {endpoint.key_name}=…")
    if status == 404 and NO_CHAT in error_message(text):
        raise UserError("The model is not one to chat with.", answer, "Name a chat model.")
    if status == 404:
        where = "" if is_hosted(endpoint.base_url) else " and --base-url"
        raise UserError("The endpoint does not know that model or path.", answer, f"Check --model{where}.")
    if status in REFUSED_STATUSES:
        raise RequestRefused(answer)
    if status == 429 or (status in BUSY_STATUSES and wait_asked(headers) is not None):
        raise TooManyRequests(answer, wait_asked(headers, text))
    raise AttemptFailed(answer)


def too_slow_error(endpoint: Endpoint, refusal: TooManyRequests) -> InfrastructureError:
    """The error for an endpoint whose limit lets nobody through, or that asks to wait longer than --patience."""
    asked = "" if refusal.wait_s is None else f" It asks to wait {duration(refusal.wait_s)}."
    return InfrastructureError(
        f"The endpoint {endpoint.base_url} has answered no request for {duration(endpoint.patience_s)}, or will not.",
        f"Its limit is used up.{asked} Last answer: {refusal}",
        "Go on later with --resume RUN, which repeats no stored call, or wait longer: --patience SECONDS.",
    )


def without_key(endpoint: Endpoint, message: str) -> str:
    """An endpoint's message, without the key that it may repeat: messages are printed, and stored with a row."""
    for secret in (endpoint.api_key or "", *endpoint.secrets):
        if len(secret) >= MIN_KEY:
            message = message.replace(secret, f"${endpoint.key_name}")
    return message


def no_answer_error(endpoint: Endpoint, error: BaseException | None) -> InfrastructureError:
    """The error for an endpoint that does not answer, with its exit report where it has one."""
    report = endpoint.exit_report()
    return InfrastructureError(
        f"The endpoint {endpoint.base_url} does not answer.",
        f"Last failure: {error}" + (f"\n{report}" if report else ""),
        "Check that it runs, then go on with --resume RUN: no stored call is repeated.",
    )
