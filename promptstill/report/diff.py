"""How two prompts differ, word by word, for a reader."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

from promptstill.prompt.prompt import Message, Prompt

MAX_WORDS = 20_000  # of a text; longer ones are not compared, which would take too long
WordDiff = list[tuple[str, str]]  # of kind and text


def preview_messages(prompt: Prompt) -> list[Message]:
    """The messages, with `{field}` for each input, and `{demos}` where demos are picked for each input."""
    *before, last = (Message.model_validate(message) for message in prompt.to_openai()["messages"])
    demos = [Message(role="user", content="{demos}")] if prompt.nearest and not prompt.nearest.inside else []
    return [*before, *demos, last]


def prompt_text(prompt: Prompt) -> str:
    """The messages as one text, each under its role; a single message without it."""
    messages = preview_messages(prompt)
    if len(messages) == 1:
        return messages[0].content
    return "\n\n".join(f"[{message.role}]\n{message.content}" for message in messages)


def word_diff(before: str, after: str) -> WordDiff:
    """`after` in pieces, each `same` or `new`, and between them, as `gone`, what only `before` has."""
    old, new = split_words(before), split_words(after)
    if before == after:
        return [("same", after)]
    if max(len(old), len(new)) > MAX_WORDS:
        return [("new", after)]
    pieces: WordDiff = []
    for kind, i, j, k, n in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        removed, added = "".join(old[i:j]), "".join(new[k:n])
        pieces += [("same", added)] if kind == "equal" else [("gone", removed), ("new", added)]
    return [(kind, text) for kind, text in pieces if text]


def split_words(text: str) -> list[str]:
    """Words, and the white space between them: joined they are the text again."""
    return re.findall(r"\s+|[^\s]+", text)
