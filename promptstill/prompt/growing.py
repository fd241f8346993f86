"""The value of a reply that is still being written: the part of it that no later text can change.

A stream may show text only once it is certain that the whole reply will parse, and to what. That is so for two styles
of reply, with one output of free text: `text`, from its first character that is no white space, and `markers`, from the
marker of the output. JSON, labels and typed values can fail at their last character: nothing of them is certain before.
"""

from __future__ import annotations

import re

from promptstill.prompt.prompt import Prompt
from promptstill.prompt.reply import MARKER

LINE_MARKER = re.compile("\n" + MARKER)
BEGUN_MARKER = re.compile(r"[ \t]*(\[(\[[ #]{0,4}\w*[ #]{0,4}\]?)?)?")  # a line that more text may make a marker


def growing_value(prompt: Prompt) -> GrowingText | GrowingSection | None:
    """What tells the certain part of one reply to this prompt; None where nothing is certain before its end."""
    field, *others = prompt.outputs
    if others or prompt.reply.prefix or not field.takes_any_text:
        return None
    if prompt.reply.style == "text":
        return GrowingText(field.label)
    return GrowingSection(field.name) if prompt.reply.style == "markers" else None


class GrowingText:
    """A reply of the style `text`: all of it but white space at its ends, and the output's label at its beginning."""

    def __init__(self, label: str) -> None:
        self._label = f"{label}:"
        self._held, self._begun = "", False

    def feed(self, piece: str) -> str:
        """The next part of the value, which may be empty, after the reply's next piece."""
        self._held += piece
        if not self._begun and not self._begin():
            return ""
        text, self._held = without_end(self._held, len(self._held))
        return text

    def _begin(self) -> bool:
        """Whether the value has begun. What is held is then the value's beginning."""
        text = self._held.lstrip()
        if self._label.startswith(text):  # it is empty, or may become the label
            return False
        text = text.removeprefix(self._label).lstrip()
        if text:
            self._held, self._begun = text, True
        return self._begun


class GrowingSection:
    """A reply of the style `markers`: what is between the marker of the output and the next one."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._held = "\n"  # a marker stands at the beginning of a line, the first one too
        self._found = self._begun = self._ended = False

    def feed(self, piece: str) -> str:
        """The next part of the value, which may be empty, after the reply's next piece."""
        if self._ended:
            return ""
        self._held += piece
        if not self._found and not self._find():
            return ""
        end = LINE_MARKER.search(self._held)
        self._ended = end is not None
        text, self._held = without_end(self._held, end.start() if end else begun_marker(self._held))
        text = text if self._begun else text.lstrip()
        self._begun |= bool(text)
        return text

    def _find(self) -> bool:
        """Whether the output's own marker is there. What is held is then what follows it."""
        for marker in LINE_MARKER.finditer(self._held):
            if marker[1] == self._name:
                self._held, self._found = self._held[marker.end() :], True
                return True
        self._held = self._held[begun_marker(self._held) :]
        return False


def without_end(text: str, end: int) -> tuple[str, str]:
    """`text` before `end` without the white space at its end, and all that is left."""
    kept = len(text[:end].rstrip())
    return text[:kept], text[kept:]


def begun_marker(text: str) -> int:
    """Where the last line begins, its line end included, if it may become a marker; else the end of the text."""
    start = text.rfind("\n")
    return start if start >= 0 and BEGUN_MARKER.fullmatch(text, start + 1) else len(text)
