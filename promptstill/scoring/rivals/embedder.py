"""Asks an OpenAI-compatible endpoint for embeddings, in batches. Nothing of it counts as a call of the run's model.

Failures of the endpoint are retried with growing pauses, and then stop the run; a batch that it refuses stops it too.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import aiohttp
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from promptstill.endpoint.answers import AttemptFailed, TooManyRequests, error_message
from promptstill.endpoint.endpoint import Endpoint, open_session
from promptstill.endpoint.failures import no_answer_error, raise_for_status, without_key
from promptstill.endpoint.url import split_model
from promptstill.errors import RequestRefused, UserError
from promptstill.scoring.evaluate import gather_or_cancel

BATCH = 64  # texts a request; OpenAI takes up to 2,048 of them, other servers fewer
WINDOW = 4  # requests in flight
MAX_ATTEMPTS = 6
MOST_CHARACTERS = 20_000  # of a text
NO_TEXT = "-"  # what is asked in place of an empty text, which OpenAI refuses
OPTION = "--embeddings MODEL@URL"


@dataclass(frozen=True)
class Embedder:
    """An embedding model at an endpoint."""

    model: str
    endpoint: Endpoint

    async def embed(self, texts: Iterable[str]) -> dict[str, list[float]]:
        """The vector of each text. Raises `UserError` (key, model, text) and `InfrastructureError` (endpoint)."""
        different = list(dict.fromkeys(texts))
        batches = [different[start : start + BATCH] for start in range(0, len(different), BATCH)]
        slots = asyncio.Semaphore(WINDOW)
        async with open_session(self.endpoint) as session:
            found = await gather_or_cancel(self._ask(batch, session, slots) for batch in batches)
        vectors = [vector for batch in found for vector in batch]
        if len({len(vector) for vector in vectors}) > 1:
            raise no_answer_error(self.endpoint, AttemptFailed("its embeddings differ in length"))
        return dict(zip(different, vectors, strict=True))

    async def try_out(self) -> None:
        """Ask for one embedding, so that what is wrong shows before a run begins. Raises as `embed` does."""
        await self.embed([NO_TEXT])

    async def _ask(
        self, batch: Sequence[str], session: aiohttp.ClientSession, slots: asyncio.Semaphore
    ) -> list[list[float]]:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type((AttemptFailed, TooManyRequests)),
            wait=wait_random_exponential(multiplier=0.25, max=8),
            stop=stop_after_attempt(MAX_ATTEMPTS),
            reraise=True,
        )
        try:
            async with slots:
                vectors: list[list[float]] = await retrying(self._post, batch, session)
                return vectors
        except (AttemptFailed, TooManyRequests) as error:
            raise no_answer_error(self.endpoint, error) from error
        except RequestRefused as error:
            raise UserError(
                f"The endpoint refuses to embed the inputs by {self.model}.",
                str(error),
                f"Name another model: {OPTION}, or leave it out.",
            ) from error

    async def _post(self, batch: Sequence[str], session: aiohttp.ClientSession) -> list[list[float]]:
        texts = [text[:MOST_CHARACTERS].strip() or NO_TEXT for text in batch]
        body = {"model": self.model, "input": texts, "encoding_format": "float"}
        try:
            async with session.post(f"{self.endpoint.base_url}/embeddings", json=body) as response:
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise AttemptFailed(f"{type(error).__name__}: {error}") from error
        if response.status == 404:
            raise UserError(
                f"The endpoint has no embeddings of {self.model}.",
                f"{self.endpoint.base_url} answered 404: {without_key(self.endpoint, error_message(text))}",
                f"Check {OPTION}.",
            )
        raise_for_status(self.endpoint, response.status, text, response.headers)
        return read_vectors(text, len(batch))


def read_vectors(text: str, count: int) -> list[list[float]]:
    """The vectors of a reply, in the order of the texts. Raises `AttemptFailed` unless there are `count` of them."""
    try:
        data = sorted(json.loads(text)["data"], key=lambda one: int(one["index"]))
        vectors = [[float(number) for number in one["embedding"]] for one in data]
    except (ValueError, KeyError, TypeError) as error:
        raise AttemptFailed(f"the reply holds no embeddings: {text[:200]!r}") from error
    if len(vectors) != count or not all(vector and all(map(math.isfinite, vector)) for vector in vectors):
        raise AttemptFailed(f"{count} texts were asked, and {len(vectors)} embeddings came, or empty ones")
    return vectors


def to_embedder(text: str, key_name: str) -> Embedder:
    """The embedder that `MODEL@URL` names; its key is in the environment variable `key_name`. Raises `UserError`."""
    model, url = split_model(text)
    if url is None or not model:
        raise UserError(
            f"--embeddings {text} names no endpoint.",
            "",
            "Write model and URL: --embeddings text-embedding-3-small@https://api.openai.com/v1",
        )
    return Embedder(model, Endpoint(url.rstrip("/"), "", os.environ.get(key_name), key_name))
