"""Patterns that read a reply: regular expressions whose groups are found in linear time.

A pattern may come with an artifact from elsewhere, and Python's `re` takes exponential time for some. So a pattern has
only literals, sets, groups, alternatives, repeats, anchors and the flags i, m and s; it is compiled into a small
program that tries each of its places at each place of the text once, in the order in which `re` would (RE2's bit-state
search: Cox 2010). What it finds is what `re.search` finds, but for the groups of a repeat that may be empty.
Backreferences and lookaround are refused. RE2 itself would not do: its \\w, \\d and \\b know ASCII alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import NoReturn

MAX_PATTERN, MAX_STEPS = 200, 256  # characters; places of the program, counts in braces written out
MAX_TEXT, MAX_WORK = 10_000, 300_000  # characters of a reply; those times the steps of the pattern: half a second
TOKEN = re.compile(
    r"(?P<open>\(\?P<[A-Za-z_]\w*>|\(\?:|\((?!\?))|(?P<close>\))|(?P<bar>\|)"
    r"|(?P<repeat>(?:[*+?]|\{(?:[0-9]+(?:,[0-9]*)?|,[0-9]*)\})\??)"
    r"|(?P<anchor>[\^$]|\\[bBAZ])|(?P<atom>\\[dDwWsSntr]|\\[^\w\s]|\[\^?\]?(?:\\.|[^\]\\])*\]|[^\\()\[\]*+?|])",
    re.DOTALL,
)
FLAGS = re.compile(r"\(\?([ims]+)\)")
CHARACTER, ANCHOR, SPLIT, SAVE, MATCH = range(5)
Groups = tuple[int, ...]  # begin and end of each group; -1 where it has none


@dataclass(frozen=True)
class Step:
    """A step of a program. first, second: where to go on, the preferred one first. slot: of Groups, for SAVE."""

    kind: int
    test: re.Pattern[str] | None = None
    first: int = 0
    second: int = 0
    slot: int = 0


@dataclass(frozen=True)
class ReplyPattern:
    """A compiled pattern. names: of its groups in order, None for one without a name."""

    steps: tuple[Step, ...]
    names: tuple[str | None, ...]

    def search(self, text: str) -> list[str | None] | None:
        """The text of each group in the first match, None for one that took no part; None where nothing matches."""
        if len(text) > min(MAX_TEXT, MAX_WORK // len(self.steps)):
            return None
        visited = bytearray(len(self.steps) * (len(text) + 1))
        for start in range(len(text) + 1):
            found = self._match(text, start, visited)
            if found is not None:
                return [text[b:e] if b >= 0 <= e else None for b, e in zip(found[::2], found[1::2], strict=True)]
        return None

    def _match(self, text: str, start: int, visited: bytearray) -> Groups | None:
        """The groups of a match that begins at `start`. What has failed from a place once fails there always."""
        waiting: list[tuple[int, int, Groups]] = [(0, start, (-1,) * (2 * len(self.names)))]
        while waiting:
            at, position, groups = waiting.pop()
            place = at * (len(text) + 1) + position
            if visited[place]:
                continue
            visited[place] = 1
            step = self.steps[at]
            if step.kind == MATCH:
                return groups
            if step.kind == SPLIT:
                waiting += [(step.second, position, groups), (step.first, position, groups)]
            elif step.kind == SAVE:
                waiting.append((at + 1, position, (*groups[: step.slot], position, *groups[step.slot + 1 :])))
            elif step.test is not None and step.test.match(text, position):
                waiting.append((at + 1, position + (step.kind == CHARACTER), groups))
        return None


@lru_cache(maxsize=256)
def compile_pattern(pattern: str) -> ReplyPattern:
    """A pattern's program. Raises `ValueError` for a pattern that is none, or has what is refused."""
    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"it is longer than {MAX_PATTERN} characters")
    try:
        re.compile(pattern)
    except (re.error, OverflowError) as error:
        raise ValueError(f"it is no regular expression: {error}") from error
    compiler = Compiler(pattern)
    steps = [*compiler.alternatives(), Step(MATCH)]
    if len(steps) > MAX_STEPS:
        raise ValueError("it is too large")
    absolute = (
        Step(one.kind, one.test, at + one.first, at + one.second, one.slot) for at, one in enumerate(steps)
    )  # a fragment counts from the step itself, so that it can stand anywhere
    return ReplyPattern(tuple(absolute), tuple(compiler.names))


class Compiler:
    """Reads a pattern from left to right; each method gives the steps of what it has read."""

    def __init__(self, pattern: str) -> None:
        flags = FLAGS.match(pattern)
        self.flags = sum((getattr(re, letter.upper()) for letter in set(flags[1])), re.NOFLAG) if flags else re.NOFLAG
        self.names: list[str | None] = []
        self._tokens = tokens(pattern[flags.end() if flags else 0 :])
        self._kind, self._text = next(self._tokens)

    def alternatives(self) -> list[Step]:
        steps = self._sequence()
        if self._kind != "bar":
            return steps
        self._advance()
        rest = self.alternatives()
        return self._checked([Step(SPLIT, first=1, second=len(steps) + 2), *steps, jump(len(rest) + 1), *rest])

    def _sequence(self) -> list[Step]:
        steps: list[Step] = []
        while self._kind in ("open", "anchor", "atom"):
            steps += self._repeated()
        return self._checked(steps)

    def _repeated(self) -> list[Step]:
        steps = self._item()
        if self._kind == "repeat":
            text = self._advance()
            if self._kind == "repeat":
                refuse(text + self._text)
            steps = self._checked(repeat(steps, text))
        return steps

    def _item(self) -> list[Step]:
        kind, text = self._kind, self._advance()
        if kind != "open":
            return [Step(CHARACTER if kind == "atom" else ANCHOR, re.compile(text, self.flags))]
        slot = 2 * len(self.names)
        saves = text != "(?:"
        if saves:
            self.names.append(text[4:-1] or None)
        inner = self.alternatives()
        self._advance()  # the closing bracket, as re.compile has seen
        return [Step(SAVE, slot=slot), *inner, Step(SAVE, slot=slot + 1)] if saves else inner

    def _advance(self) -> str:
        text = self._text
        self._kind, self._text = next(self._tokens, ("end", ""))
        return text

    def _checked(self, steps: list[Step]) -> list[Step]:
        if len(steps) > MAX_STEPS:
            raise ValueError("it is too large")
        return steps


def tokens(pattern: str) -> Iterator[tuple[str, str]]:
    """The parts of a pattern with their kinds. Raises `ValueError` at the first that is refused."""
    place = 0
    while place < len(pattern):
        token = TOKEN.match(pattern, place)
        if token is None:
            refuse(pattern[place:])
        yield str(token.lastgroup), token[0]
        place = token.end()
    yield "end", ""


def refuse(rest: str) -> NoReturn:
    raise ValueError(f"it has {rest[:8]!r}: backreferences, lookaround and other extensions are not taken")


def jump(by: int) -> Step:
    return Step(SPLIT, first=by, second=by)


def repeat(steps: list[Step], text: str) -> list[Step]:
    """Steps that are taken as often as a repeat (`*`, `+?`, `{2,5}`) says."""
    lazy = len(text) > 1 and text.endswith("?")
    least, most = counts(text.removesuffix("?") if lazy else text)
    if (least + 1 if most is None else most) * max(len(steps), 1) > MAX_STEPS:
        raise ValueError("it is too large")
    size = len(steps)
    if most is None:
        loop = [choice(1, size + 2, lazy), *steps, jump(-size - 1)]
        return steps * least + loop
    rest = ([choice(1, (size + 1) * left, lazy), *steps] for left in range(most - least, 0, -1))
    return [*steps * least, *chain.from_iterable(rest)]


def choice(on: int, past: int, lazy: bool) -> Step:
    """Once more or no more, in the order that is preferred."""
    return Step(SPLIT, first=past if lazy else on, second=on if lazy else past)


def counts(text: str) -> tuple[int, int | None]:
    """The least and the most times of a repeat; None for no bound."""
    if text in ("*", "+", "?"):
        return int(text == "+"), 1 if text == "?" else None
    least, comma, most = text[1:-1].partition(",")
    return int(least or 0), int(least) if not comma else int(most) if most else None
