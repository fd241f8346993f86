"""The form in which a request wants its reply: DSPy's markers, a JSON object, fences, labelled lines, or plain text.

It is read from the request's text, as a model would read it, so any optimizer's request is answered in its own form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from tests.support.fake import Body

MARKER = re.compile(r"`\[\[ ## (\w+) ## \]\]`")
MODULES = re.compile(r"\[\[ ## module_names ## \]\]\s*(\[[^\]]*\])")
NAME = re.compile(r"`(\w+)`")
ASKED = "Respond with the corresponding output fields"
ASKED_JSON = "Respond with a JSON object in the following order of fields"
REASONED = "Reasoning: one or two short sentences"
THOUGHT = "The words of the note decide."
Value = Callable[[str], Any]  # of a field's name


def request_text(body: Body) -> str:
    """All messages of a request as one text."""
    return "\n".join(content_text(message.get("content")) for message in body["messages"])


def content_text(content: Any) -> str:
    """A message's content, which may come in parts."""
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content)
    return str(content or "")


def asked_fields(text: str) -> tuple[str, list[str]]:
    """The last of DSPy's two sentences that ask for a reply's form, and the fields that it names; empty without one."""
    asked, asked_json = text.rfind(f"{ASKED},"), text.rfind(ASKED_JSON)
    if asked < 0 and asked_json < 0:
        return "", []
    if asked > asked_json:
        names = [name for name in MARKER.findall(text[asked:]) if name != "completed"]
        return ASKED, list(dict.fromkeys(names))
    return ASKED_JSON, list(dict.fromkeys(NAME.findall(text[asked_json:])))


def write_fields(text: str, value: Value) -> str | None:
    """A reply with DSPy's fields; None where the text asks for none."""
    form, names = asked_fields(text)
    if form == ASKED:
        parts = [f"[[ ## {name} ## ]]\n{as_text(value(name))}\n\n" for name in names]
        return "".join(parts) + "[[ ## completed ## ]]"
    return json.dumps({name: value(name) for name in names}) if form else None


def as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def write_label(body: Body, text: str, label: str) -> str:
    """A label in the form that a prompt asks for."""
    written = write_fields(text, lambda name: label if name == "label" else THOUGHT)
    if written is not None:
        return written
    if choice := (body.get("structured_outputs") or {}).get("choice"):
        return next((str(one) for one in choice if str(one).strip() == label), str(choice[0]))
    if REASONED in text:
        start = "" if text.endswith("Reasoning:") else "Reasoning:"
        return f"{start} {THOUGHT}\nLabel: {label}".lstrip()
    return label


def write_instruction(text: str, instruction: str) -> str:
    """An instruction in the form that a proposer is asked for; advice to modules is for each that is named."""
    named = MODULES.findall(text)
    modules = re.findall(r'"(\w+)"', named[-1]) if named else []

    def value(name: str) -> Any:
        return dict.fromkeys(modules or ["self"], instruction) if name == "module_advice" else instruction

    written = write_fields(text, value)
    if written is not None:
        return written
    return f"```\n{instruction}\n```" if "within ``` blocks" in text else instruction
