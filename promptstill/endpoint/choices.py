"""Several samples of one request at once: by one request with `n`, where the endpoint gives several choices.

The prompt is then paid for once. Whether it does is found out by the first such request, and remembered: some refuse
the field, others ignore it and give one choice. Each sample is stored under its own key and counts as a call, so that a
resumed run repeats none and counts the same, however they were asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from promptstill.endpoint.client import Client
from promptstill.endpoint.store import Completion
from promptstill.errors import RequestRefused


async def complete_many(client: Client, body: dict[str, Any], role: str, samples: Sequence[int]) -> list[Completion]:
    """The completions of samples of a request, in their order; see `Client.complete`, which asks for each that one
    request did not give. Raises what it raises."""
    fresh = [sample for sample in samples if client.is_unasked(body, sample)]
    given = await ask_together(client, body, role, fresh) if len(fresh) > 1 else []
    found = dict(zip(fresh, given, strict=False))
    return [found.get(sample) or await client.complete(body, role, sample) for sample in samples]


async def ask_together(
    client: Client, body: dict[str, Any], role: str, samples: Sequence[int]
) -> list[Completion | None]:
    """What one request gives of the samples; nothing where the endpoint is known to give one choice. While that is not
    known, one row at a time finds it out."""
    model = str(body["model"])
    if model not in client.gives_choices:
        async with client.finding_out:
            if model not in client.gives_choices:
                return await find_out(client, body, role, samples)
    fresh = [sample for sample in samples if client.is_unasked(body, sample)]  # an equal row may have asked meanwhile
    if not client.gives_choices[model] or fresh != list(samples):
        return []
    return await client.ask_choices(body, role, samples)


async def find_out(client: Client, body: dict[str, Any], role: str, samples: Sequence[int]) -> list[Completion | None]:
    """The same for the first row. Raises `RequestRefused` where the request itself is refused, without `n` too."""
    model = str(body["model"])
    if not all(client.is_unasked(body, sample) for sample in samples):
        return []
    try:
        given = await client.ask_choices(body, role, samples)
    except RequestRefused:
        given = [await client.complete(body, role, samples[0])]
    client.gives_choices[model] = len(given) > 1
    return given
