"""A small client for Python callers: named inputs in, typed outputs out. One HTTP call for each request, no retries."""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any

import httpx

from promptstill.endpoint.url import on_this_machine
from promptstill.errors import InfrastructureError, ReplyError, RequestRefused


class Client:
    """Sends requests to the variants of one server: `Client(url).ask("qa-prompt", question="…")`.

    `url` may end in /v1 or not.
    """

    def __init__(self, url: str, api_key: str | None = None, *, timeout_s: float = 120.0) -> None:
        base_url = url.rstrip("/").removesuffix("/v1") + "/v1/"
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        # A proxy cannot reach this machine's own address.
        self._http = httpx.Client(
            base_url=base_url, headers=headers, timeout=timeout_s, trust_env=not on_this_machine(base_url)
        )

    def ask(self, variant: str, /, **inputs: Any) -> dict[str, Any]:
        """The typed outputs for one row of inputs.

        Raises `ReplyError` where the model's reply cannot be parsed, `RequestRefused` where the server refuses the
        inputs, the variant or the key, and `InfrastructureError` where it does not answer.
        """
        messages = [{"role": "user", "content": json.dumps(inputs)}]
        reply = self._call("POST", "chat/completions", {"model": variant, "messages": messages, "parsed": True})
        outputs: dict[str, Any] = json.loads(reply["choices"][0]["message"]["content"])
        return outputs

    def models(self) -> list[dict[str, Any]]:
        """The server's models. Each variant has its artifact, layout and score under `promptstill`."""
        return list(self._call("GET", "models", None)["data"])

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _call(self, method: str, path: str, body: object) -> Any:
        try:
            response = self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise InfrastructureError(f"{self._http.base_url} does not answer.", str(error)) from error
        if response.status_code == 200:
            return response.json()
        message = error_message(response)
        if response.status_code == 422:
            raise ReplyError(message)
        if response.status_code < 500 and response.status_code != 429:
            raise RequestRefused(message)
        raise InfrastructureError(f"{self._http.base_url} answered {response.status_code}.", message)


def error_message(response: httpx.Response) -> str:
    """The message of an OpenAI error object; the start of the body where it holds none."""
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return response.text[:300]
