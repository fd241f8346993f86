"""A client for callers who want types: inputs by name, outputs by name. Thin: one HTTP call, no retries."""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any

import httpx

from optimizer.addresses import on_this_machine
from optimizer.errors import InfrastructureError, ReplyError, RequestRefused


class Client:
    """Asks the variants of one server, `url` with or without /v1: `Client(url).ask("qa-prompt", question="…")`."""

    def __init__(self, url: str, api_key: str | None = None, *, timeout_s: float = 120.0) -> None:
        base_url = url.rstrip("/").removesuffix("/v1") + "/v1/"
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        # A proxy must not see this machine's own address.
        self._http = httpx.Client(
            base_url=base_url, headers=headers, timeout=timeout_s, trust_env=not on_this_machine(base_url)
        )

    def ask(self, variant: str, /, **inputs: Any) -> dict[str, Any]:
        """The typed outputs for one row of inputs.

        Raises `ReplyError` where the model's reply does not parse, `RequestRefused` where the server takes neither the
        inputs nor the variant nor the key, and `InfrastructureError` where it does not answer.
        """
        messages = [{"role": "user", "content": json.dumps(inputs)}]
        reply = self._call("POST", "chat/completions", {"model": variant, "messages": messages, "parsed": True})
        outputs: dict[str, Any] = json.loads(reply["choices"][0]["message"]["content"])
        return outputs

    def models(self) -> list[dict[str, Any]]:
        """What the server offers: each variant with its artifact, layout and score under `promptstill`."""
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
        said = message_in(response)
        if response.status_code == 422:
            raise ReplyError(said)
        if response.status_code < 500 and response.status_code != 429:
            raise RequestRefused(said)
        raise InfrastructureError(f"{self._http.base_url} answered {response.status_code}.", said)


def message_in(response: httpx.Response) -> str:
    """The message of an OpenAI error object, or the start of the body."""
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return response.text[:300]
