"""Values that a reply marks as those of an output: `Label: x` at a line's beginning in the forms that models write, a
key of a JSON object, DSPy's `[[ ## label ## ]]`. Case, bold letters, list signs and headings do not matter.

What a mark names and what is no value of the type does not count, so that a label in a thought decides nothing.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from promptstill.errors import ReplyError
from promptstill.prompt.fields import REASONING, Field
from promptstill.prompt.reply import MARKER
from promptstill.prompt.tolerant.values import Fence, Undecided, find_fences, json_values, read_part, takes_text

MOST_MARKS = 64  # in a reply; a longer list of labels, as of a model that repeats itself, is not read
ANSWERS = ("answer", "final answer")  # names of the one output that is asked for, whatever it is called
LINE_START = r"^[ \t>]*(?:(?:[-*+•]|[0-9]{1,2}[.)])[ \t]+)?(?P<heading>#{1,6}[ \t]+)?(?P<bold>\*{1,3}|__|`)?"
SEPARATOR = r"(?P<closed>\*{1,3}|__|`)?(?:[ \t]*(?P<colon>[:：])|(?P<dash>[ \t]+[-–—][ \t]+)|(?=[ \t]*$))"


def output_names(outputs: Sequence[Field], inputs: Sequence[Field]) -> dict[str, Field]:
    """The outputs by each name that a reply may call them, without those that could be two fields."""
    names: dict[str, list[Field]] = {}
    for field in (*outputs, *inputs):
        for key in {plain_name(field.label), plain_name(field.name)}:
            names.setdefault(key, []).append(field)
    asked = [field for field in outputs if field.name != REASONING]
    if len(asked) == 1:
        names = {plain_name(answer): asked for answer in ANSWERS} | names
    return {key: fields[0] for key, fields in names.items() if key and len(fields) == 1 and fields[0] in outputs}


def plain_name(name: str) -> str:
    """A name without case and what may stand between its words: `Due date`, `due_date` and `dueDate` are one."""
    return re.sub(r"[\s_-]+", "", name.casefold())


def names_pattern(names: Mapping[str, Field]) -> str:
    """A pattern for the names in text, the longest first; without a name nothing fits it."""
    ordered = sorted(names, key=len, reverse=True)
    return "|".join(r"[ \t_-]?".join(map(re.escape, name)) for name in ordered) or "(?!)"


def find_marked(names: Mapping[str, Field], text: str) -> dict[str, list[Any]]:
    """For each output that is marked, the values that its marks give."""
    found: dict[str, list[Any]] = {}
    for field, part in [*marked_lines(names, text), *marked_keys(names, text)]:
        try:
            value = read_part(field, part)
        except Undecided:
            raise
        except ReplyError:
            continue
        found.setdefault(field.name, []).append(value)
    return found


def marked_keys(names: Mapping[str, Field], text: str) -> Iterator[tuple[Field, Any]]:
    """What the JSON objects of a reply have under the outputs' names."""
    for value in json_values(text):
        for key, inner in value.items() if isinstance(value, dict) else ():
            if plain_name(key) in names:
                yield names[plain_name(key)], inner


def marked_lines(names: Mapping[str, Field], text: str) -> Iterator[tuple[Field, Any]]:
    """What follows each label: of free text all up to the next label, else what of it is a value."""
    pattern = re.compile(
        rf"{LINE_START}(?P<name>{names_pattern(names)}){SEPARATOR}|^{MARKER}", re.MULTILINE | re.IGNORECASE
    )
    begun = list(islice(pattern.finditer(text), MOST_MARKS + 1))
    marks = [mark for mark in begun if is_mark(mark, names)] if len(begun) <= MOST_MARKS else []
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    fences = find_fences(text)
    for mark, end in zip(marks, ends, strict=False):  # without a mark there is still the end of the text
        field = names.get(plain_name(mark["name"] or mark[mark.lastindex or 0]))
        if field:
            section = without_mark(mark, text[mark.end() : end_of_fence(fences, mark.start(), end)])
            yield field, section.strip() if takes_text(field.type) else section_value(field, section)


def end_of_fence(fences: Sequence[Fence], place: int, end: int) -> int:
    """Where the inside of the fence around a place ends, if before `end`: a label in it names nothing behind it."""
    number = bisect_right(fences, place, key=lambda fence: fence.inside) - 1
    is_inside = number >= 0 and place < fences[number].inside_end
    return min(end, fences[number].inside_end) if is_inside else end


def is_mark(mark: re.Match[str], names: Mapping[str, Field]) -> bool:
    """Whether a line that begins with a name is a label. One without a colon stands alone in its line, in bold letters
    or as a heading; one with a dash has a value behind it that is not free text."""
    if mark["name"] is None or mark["colon"]:
        return True
    if not mark["dash"]:
        return bool(mark["heading"] or (mark["bold"] and mark["closed"]))
    field = names[plain_name(mark["name"])]
    return not takes_text(field.type) and can_read(field, line_from(mark.string, mark.end()))


def without_mark(mark: re.Match[str], section: str) -> str:
    """What follows a label, without the bold letters' end that belongs to it."""
    bold = mark["bold"]
    if not bold or mark["closed"]:
        return section
    if section.startswith(bold):
        return section.removeprefix(bold)
    line, newline, rest = section.partition("\n")
    return line.rstrip().removesuffix(bold) + newline + rest


def section_value(field: Field, section: str) -> Any:
    """The part of a section that is the value: all of it, a code fence or JSON at its beginning, or its first line."""
    parts: list[Any] = [section]
    begun = section.lstrip()
    fence = next(iter(find_fences(begun)), None)
    if fence and fence.start == 0:
        parts.append(begun[fence.inside : fence.inside_end])
    elif begun.startswith(("{", "[")):
        parts += json_values(begun)[:1]
    parts += [first_line(section)] if begun else []
    return next((part for part in parts if can_read(field, part)), parts[-1])


def can_read(field: Field, part: Any) -> bool:
    try:
        read_part(field, part)
    except ReplyError:
        return False
    return True


def line_from(text: str, start: int) -> str:
    """What is left of the line at `start`."""
    end = text.find("\n", start)
    return text[start : end if end >= 0 else len(text)]


def first_line(text: str) -> str:
    """The first line that is not empty."""
    return text.strip().partition("\n")[0]
