"""Bodies of requests: what a client of a variant sends, and hypothesis strategies for broken and hostile ones."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

NAMES: list[Any] = [
    "qa_raw-prompt",
    "qa-distilled",
    "feel-prompt",
    "pick-prompt",
    "smollm2-135m",
    "nobody",
    "",
    None,
    5,
    [],
    {},
]
FIELDS = ["max_tokens", "max_completion_tokens", "n", "seed", "logprobs", "top_logprobs", "stream", "stream_options",
          "user", "parsed", "temperature", "stop", "chat_template", "chat_template_kwargs", "tools",
          "structured_outputs", "response_format",
          "guided_json", "priority", "sampling_params", "\x00", "é"]  # fmt: skip
HUGE = [10**400, -(10**30), 2**63, 1e308, -1, 0, 0.5, 2**31]


def asking(name: str, inputs: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A chat request of the variant `name`."""
    return {"model": name, "messages": [{"role": "user", "content": json.dumps(inputs)}], **fields}


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=20), st.sampled_from(HUGE)
)
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
words = st.one_of(
    st.text(max_size=30), st.sampled_from(["{answer}", "\x00", "\ud800", "<|im_end|>", "[[ ## a ## ]]", ""])
)
inputs = st.one_of(
    st.fixed_dictionaries({"context": words, "question": words}),
    st.fixed_dictionaries({"thing": words}),
    st.fixed_dictionaries({"words": values, "limit": values}),
    st.dictionaries(st.sampled_from(["context", "question", "thing", "answer"]), values, max_size=3),
)
contents = st.one_of(inputs.map(json.dumps), words, values)
messages = st.one_of(
    contents.map(lambda content: [{"role": "user", "content": content}]),
    st.lists(st.fixed_dictionaries({"role": words, "content": contents}), max_size=3),
    values,
)
requests = st.builds(
    lambda model, sent, extra: {"model": model, "messages": sent, **extra},
    st.sampled_from(NAMES),
    messages,
    st.dictionaries(st.sampled_from(FIELDS), values, max_size=2),
)


def encode(value: Any, spoil: str, where: int) -> bytes:
    """JSON of `value`, whole or spoilt in one of several ways."""
    text = json.dumps(value).encode()
    at = where % (len(text) + 1)
    return {
        "whole": text,
        "cut": text[:at],
        "nul": text[:at] + b"\x00" + text[at:],
        "latin": text[:at] + b"\xff" + text[at:],
        "nan": text.replace(b'"content": ', b'"content": NaN, "x": '),
        "deep": b'{"model": "feel-prompt", "messages": ' + b"[" * (at * 50) + b"]" * (at * 50) + b"}",
        "twice": text[:-1] + b', "model": "feel-prompt"}',
        "utf-16": json.dumps(value).encode("utf-16"),
    }[spoil]


SPOILS = ["whole", "whole", "whole", "cut", "nul", "latin", "nan", "deep", "twice", "utf-16"]
bodies = st.builds(encode, requests, st.sampled_from(SPOILS), st.integers(0, 2000))
