"""What one prompt has that another has not, word by word, for a reader."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

from optimizer.prompt import Message, Prompt

LONGEST = 20_000  # words beyond which two texts are no longer aligned
Marked = list[tuple[str, str]]


def turns(prompt: Prompt) -> list[Message]:
    """The messages with `{field}` for inputs and `{demos}` where demos are picked for each input."""
    *before, last = (Message.model_validate(message) for message in prompt.to_openai()["messages"])
    picked = [Message(role="user", content="{demos}")] if prompt.nearest and not prompt.nearest.inside else []
    return [*before, *picked, last]


def prompt_text(prompt: Prompt) -> str:
    """The messages as one text, each under its role; a lone message as it is."""
    shown = turns(prompt)
    if len(shown) == 1:
        return shown[0].content
    return "\n\n".join(f"[{message.role}]\n{message.content}" for message in shown)


def marked(before: str, after: str) -> Marked:
    """`after` in pieces, each `same`, `new`, or (what only `before` has) `gone`."""
    old, new = words(before), words(after)
    if before == after:
        return [("same", after)]
    if max(len(old), len(new)) > LONGEST:
        return [("new", after)]
    pieces: Marked = []
    for kind, i, j, k, n in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        gone, came = "".join(old[i:j]), "".join(new[k:n])
        pieces += [("same", came)] if kind == "equal" else [("gone", gone), ("new", came)]
    return [(kind, text) for kind, text in pieces if text]


def words(text: str) -> list[str]:
    """Words, and the white space between them, so that joining gives the text again."""
    return re.findall(r"\s+|[^\s]+", text)
