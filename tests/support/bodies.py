"""Bodies of chat requests: right ones, and hypothesis strategies for broken and hostile ones; and replies in pieces."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

BASE_NAMES: list[Any] = ["smollm2-135m", "fake", "", None]
MODEL_NAMES: list[Any] = ["qa_raw-prompt", "qa-distilled", "feel-prompt", "pick-prompt", "form-prompt", *BASE_NAMES,
                          "near_turns-prompt", "nobody", 5, [], {}]  # fmt: skip
FIELDS = ["max_tokens", "max_completion_tokens", "n", "seed", "logprobs", "top_logprobs", "stream", "stream_options",
          "user", "raw", "parsed", "temperature", "stop", "chat_template", "chat_template_kwargs", "tools",
          "structured_outputs", "response_format",
          "guided_json", "priority", "sampling_params", "\x00", "é", "\ud800"]  # fmt: skip
COUNT_FIELDS = ["max_tokens", "max_completion_tokens", "n", "best_of", "top_logprobs"]
EXTREME_NUMBERS = [10**400, -(10**30), 2**63, 1e308, -1, 0, 0.5, 2**31]
COUNTS = [*EXTREME_NUMBERS, 1, 2, 8, 9, 16, 17, 128, 129, 2**31 - 1, "9", True]
MARKERS = ("<|im_start|>", "<|im_end|>")
LONG = "7" * 20_000  # in one word
# Texts that `to_json` writes as JSON which Python alone reads.
LITERALS = {"@deep": "[" * 600 + "]" * 600, "@huge": "1e999", "@nan": "NaN"}


def chat_body(model: str, inputs: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A chat request with these inputs and further fields."""
    return {"model": model, "messages": [{"role": "user", "content": to_json(inputs)}], **fields}


def to_json(value: Any) -> str:
    """JSON of `value`, with LITERALS in place of their names."""
    text = json.dumps(value)
    for name, literal in LITERALS.items():
        text = text.replace(f'"{name}"', literal)
    return text


literals = st.sampled_from(list(LITERALS))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=20),
    st.sampled_from(EXTREME_NUMBERS),
    literals,
)
words = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["{answer}", "\x00", "\ud800", "[[ ## a ## ]]", "", LONG, *MARKERS]),
    literals,
)
keys = st.one_of(st.text(max_size=5), st.sampled_from(["\ud800", *MARKERS]))
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
answers = st.fixed_dictionaries({"context": words, "question": words})
INPUTS: dict[str, st.SearchStrategy[Any]] = {
    "qa_raw-prompt": answers,
    "near_turns-prompt": answers,
    "near_inside-prompt": answers,
    "feel-prompt": st.fixed_dictionaries({"thing": words}),
    "pick-prompt": st.fixed_dictionaries(
        {"words": st.lists(words, max_size=3) | values, "limit": st.integers() | values}
    ),
    "form-prompt": st.fixed_dictionaries({"entries": st.dictionaries(keys, words | values, max_size=3) | values}),
}
inputs = st.one_of(
    *INPUTS.values(),
    st.dictionaries(st.sampled_from(["context", "question", "thing", "answer", "\ud800"]), values, max_size=3),
)
contents = st.one_of(inputs.map(to_json), words, values)
messages = st.one_of(
    contents.map(lambda content: [{"role": "user", "content": content}]),
    st.lists(st.fixed_dictionaries({"role": words, "content": contents}), max_size=3),
    values,
)
fields = st.one_of(
    st.just({}),
    st.dictionaries(st.sampled_from(COUNT_FIELDS), st.sampled_from(COUNTS), max_size=2),
    st.dictionaries(st.sampled_from(FIELDS), values, max_size=2),
)
fitting = st.sampled_from(list(INPUTS)).flatmap(
    lambda name: st.builds(lambda one, more: chat_body(name, one) | more, INPUTS[name], fields)
)
others = st.builds(
    lambda model, turns, more: {"model": model, "messages": turns, **more},
    st.sampled_from(MODEL_NAMES),
    messages,
    fields,
)
requests = st.one_of(fitting, others)


def encode(value: Any, defect: str, position: int) -> bytes:
    """JSON of `value`, correct (`none`) or with a defect near `position`."""
    text = to_json(value).encode()
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

REPLY_PARTS = [
    *("Answer:", "Answer: ", "Ans", "Reasoning: it says so.\n", "answer", "red", "Red.", "the mill", "5", "é", "👍"),
    *(" ", "\n", "\n", "\t", "\u2003", "\x1f", "[", "[[", "[[ ##", " ## ", "]", "]]", '{"answer": "', '"}', '"'),
    *("[[ ## answer ## ]]", "\n[[ ## answer ## ]]\n", "[[ ## reasoning ## ]]\n", "\n\n[[ ## completed ## ]]"),
    *('{"answer": "red"}', '{"reasoning": "so", "answer": " red "}'),
]
replies = st.one_of(st.lists(st.sampled_from(REPLY_PARTS), max_size=8).map("".join), st.text(max_size=8))
cuts = st.lists(st.integers(0, 80), max_size=12)


def pieces(reply: str, places: list[int]) -> list[str]:
    """The reply cut at these places; some pieces may be empty."""
    ends = [0, *sorted(min(place, len(reply)) for place in places), len(reply)]
    return [reply[start:end] for start, end in pairwise(ends)]
