"""Asks a provider through LiteLLM, which knows each one's own API. Only what asks a provider imports LiteLLM."""

from __future__ import annotations

import functools
import json
import logging
import os
import re
import warnings
from collections.abc import Mapping
from typing import Any

from promptstill.endpoint.answers import AttemptFailed
from promptstill.endpoint.endpoint import Endpoint
from promptstill.endpoint.failures import raise_for_status
from promptstill.errors import UserError
from promptstill.text import first_line

# Without these it fetches its tables from the network when it is imported or first used.
LOCAL_TABLES = ("LITELLM_LOCAL_MODEL_COST_MAP", "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS")
MISSING_MODULE = re.compile(r"No module named|pip install")
NO_KEY = re.compile(r"Missing credentials|Missing .*API[ _]Key", re.IGNORECASE)  # which it tells before it asks
REFUSED_KEY = 401
NO_STATUS = 500  # of a failure that has none: another attempt may help


@functools.cache
def load_litellm() -> Any:
    """The package, with its own tables, and without the lines that it prints about itself."""
    for name in LOCAL_TABLES:
        os.environ.setdefault(name, "True")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pydantic, about LiteLLM's own types, when the first answer is made
        import litellm

        litellm.ModelResponse()
    logging.getLogger("LiteLLM").setLevel(logging.ERROR)  # it warns of each new event loop
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    return litellm


async def ask_provider(endpoint: Endpoint, body: Mapping[str, Any], timeout_s: float) -> str:
    """The answer to a chat request, as JSON of OpenAI's form. LiteLLM tries once; the client tries again.

    Raises as `raise_for_status` does.
    """
    litellm = load_litellm()
    try:
        answer = await litellm.acompletion(
            **body, api_key=endpoint.api_key, timeout=timeout_s, num_retries=0, max_retries=0
        )
    except Exception as error:  # what LiteLLM raises is of OpenAI's classes, of its own, or of a provider's package
        if MISSING_MODULE.search(str(error)):
            why = first_line(str(error))
            raise UserError("LiteLLM lacks a package for this provider.", why, "Install that.") from error
        raise_as_answer(endpoint, error)
        raise AttemptFailed(first_line(str(error))) from error
    return str(answer.model_dump_json())


def raise_as_answer(endpoint: Endpoint, error: Exception) -> None:
    """Raise what the same answer over HTTP would be raised as."""
    status = REFUSED_KEY if NO_KEY.search(str(error)) else int(getattr(error, "status_code", None) or NO_STATUS)
    body = {"error": {"message": str(error), "code": answer_code(error)}}
    raise_for_status(endpoint, status, json.dumps(body), answer_headers(error))


def answer_code(error: Exception) -> str | None:
    """The code in the answer; LiteLLM keeps it in the body, of this error or of the one that it stands for."""
    bodies = (getattr(one, "body", None) for one in (error, error.__cause__, error.__context__))
    return next((body["code"] for body in bodies if isinstance(body, dict) and body.get("code")), None)


def answer_headers(error: Exception) -> dict[str, str]:
    """The headers of the answer that LiteLLM raised an error for."""
    headers = getattr(error, "litellm_response_headers", None) or getattr(
        getattr(error, "response", None), "headers", {}
    )
    return {str(name).lower(): str(value) for name, value in dict(headers).items()}
