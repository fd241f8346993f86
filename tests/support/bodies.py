"""Bodies of chat requests: right ones, and hypothesis strategies for broken and hostile ones."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

MODEL_NAMES: list[Any] = [
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
EXTREME_NUMBERS = [10**400, -(10**30), 2**63, 1e308, -1, 0, 0.5, 2**31]


def chat_body(model: str, inputs: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A chat request with these inputs and further fields."""
    return {"model": model, "messages": [{"role": "user", "content": json.dumps(inputs)}], **fields}


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=20),
    st.sampled_from(EXTREME_NUMBERS),
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
    lambda model, turns, extra: {"model": model, "messages": turns, **extra},
    st.sampled_from(MODEL_NAMES),
    messages,
    st.dictionaries(st.sampled_from(FIELDS), values, max_size=2),
)


def encode(value: Any, defect: str, position: int) -> bytes:
    """JSON of `value`, correct (`none`) or with a defect near `position`."""
    text = json.dumps(value).encode()
    at = position % (len(text) + 1)
    return {
        "none": text,
        "cut": text[:at],
        "nul": text[:at] + b"\x00" + text[at:],
        "latin": text[:at] + b"\xff" + text[at:],
        "nan": text.replace(b'"content": ', b'"content": NaN, "x": '),
        "deep": b'{"model": "feel-prompt", "messages": ' + b"[" * (at * 50) + b"]" * (at * 50) + b"}",
        "twice": text[:-1] + b', "model": "feel-prompt"}',
        "utf-16": json.dumps(value).encode("utf-16"),
    }[defect]


DEFECTS = ["none", "none", "none", "cut", "nul", "latin", "nan", "deep", "twice", "utf-16"]
bodies = st.builds(encode, requests, st.sampled_from(DEFECTS), st.integers(0, 2000))
