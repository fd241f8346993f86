"""How a reply is read: one reader for each style of reply that a layout asks for.

A reader returns the raw value of each output that it finds; fields.py decides whether that is a value of the output's
type. Refuses only a reply that has not the form of its style.
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal

from pydantic import Field as Attribute
from pydantic import field_validator

from promptstill.errors import ReplyError
from promptstill.prompt.fields import Field, FrozenModel
from promptstill.prompt.pattern import compile_pattern
from promptstill.strict_json import is_too_deep, parse_float, refuse_constant

OBJECT = json.JSONDecoder(strict=False, parse_float=parse_float, parse_constant=refuse_constant)
MAX_PATHS, MAX_PATH = 64, 200  # paths; characters of one
MAX_BRACKETS = 32  # in a reply at which a JSON value may begin
MARKER = r"[ \t]*\[\[ ## (\w+) ## \]\]"  # a line's beginning
PATH_STEP = re.compile(r'\.?([^\s.\[\]"$]+)|\[([0-9]{1,6})\]|\["([^"]+)"\]')


class ReplyFormat(FrozenModel):
    """How a reply is read. `prefix` is the beginning of the reply that the prompt itself ends with.

    pattern: for that style, a regular expression (pattern.py) with a group for each output, named as it is; the group
    of a single output needs no name. paths: for the style `path`, the place of each output in the reply's JSON.
    """

    style: Literal["text", "labels", "markers", "json", "pattern", "path"]
    prefix: str = Attribute(default="", max_length=1000)
    pattern: str = ""
    paths: dict[str, str] = Attribute(default={}, max_length=MAX_PATHS)

    @field_validator("pattern")
    @classmethod
    def _pattern_is_allowed(cls, pattern: str) -> str:
        compile_pattern(pattern)
        return pattern

    @field_validator("paths")
    @classmethod
    def _paths_are_paths(cls, paths: dict[str, str]) -> dict[str, str]:
        for path in paths.values():
            path_steps(path)
        return paths

    def check(self, outputs: list[Field]) -> None:
        """Refuse a pattern or paths that do not say where each output is. Raises `ValueError`."""
        names = [field.name for field in outputs]
        if self.style == "pattern":
            groups = compile_pattern(self.pattern).names
            if sorted(map(str, groups)) != sorted(names) and not (len(names) == 1 and groups == (None,)):
                wanted = example_groups(names)
                raise ValueError(f"the pattern {self.pattern!r} needs one group for each output: {wanted}")
        if self.style == "path" and sorted(self.paths) != sorted(names):
            raise ValueError(f"there must be one path for each of {', '.join(names)}")

    def read(self, outputs: list[Field], text: str) -> dict[str, Any]:
        """The raw values of the outputs that the reply holds. Raises `ReplyError`."""
        if self.style == "pattern":
            return read_pattern(self.pattern, outputs, self.prefix + text)
        if self.style == "path":
            return read_paths(self.paths, self.prefix + text)
        return READERS[self.style](outputs, self.prefix + text)

    @property
    def is_declared(self) -> bool:
        """Whether it is the user who says where the outputs are, by a pattern or by paths."""
        return self.style in ("pattern", "path")

    def finds(self, outputs: list[Field], text: str) -> bool:
        """Whether the reply has the form, with a raw value for each output; it need not be of the output's type."""
        try:
            return len(self.read(outputs, text)) == len(outputs)
        except ReplyError:
            return False

    def __str__(self) -> str:
        """For messages: the pattern or the paths themselves."""
        if self.style == "pattern":
            return f"The pattern {self.pattern}"
        paths = ", ".join(self.paths.values())
        return f"The path {paths}" if self.style == "path" else f"The reply format {self.style}"


def example_groups(names: list[str]) -> str:
    """How a pattern may name its groups."""
    return "one pair of brackets" if len(names) == 1 else " ".join(f"(?P<{name}>…)" for name in names)


def path_steps(path: str) -> list[str | int]:
    """The keys and indexes of a path such as `$.result.labels[0]`. Raises `ValueError` for anything else."""
    steps: list[str | int] = []
    place = int(path.startswith("$"))
    while place < len(path) <= MAX_PATH:
        step = PATH_STEP.match(path, place)
        if step is None:
            break
        key, index, quoted = step.groups()
        steps.append(int(index) if index else key or quoted)
        place = step.end()
    if not path or place < len(path):
        raise ValueError(f"{path[:80]!r} is no path of keys and indexes, such as $.result.labels[0]")
    return steps


def read_paths(paths: dict[str, str], text: str) -> dict[str, Any]:
    """The values at the paths of the first JSON object in the reply, or the first list where a path begins with one."""
    steps = {name: path_steps(path) for name, path in paths.items()}
    opening = "[" if any(isinstance(one[0], int) for one in steps.values() if one) else "{"
    value = first_json(opening, text)
    found = {name: value_at(value, one) for name, one in steps.items()}
    return {name: one[0] for name, one in found.items() if one}


def value_at(value: Any, steps: list[str | int]) -> list[Any]:
    """The value at a path, alone in a list; an empty list where there is none."""
    for step in steps:
        is_key = isinstance(value, dict) and step in value
        is_place = isinstance(value, list) and isinstance(step, int) and step < len(value)
        if not (is_key or is_place):
            return []
        value = value[step]
    return [value]


def first_json(opening: str, text: str) -> Any:
    """The first JSON object or list in a reply, by its opening bracket. Raises `ReplyError`."""
    starts = [found.start() for found in re.finditer(re.escape(opening), text)]
    for start in starts[:MAX_BRACKETS]:
        try:
            value, _ = OBJECT.raw_decode(text[start:])
        except (ValueError, RecursionError):
            continue
        if not is_too_deep(value):
            return value
    raise ReplyError(f"the reply has no JSON {'list' if opening == '[' else 'object'}: {text[:80]!r}")


def read_pattern(pattern: str, outputs: list[Field], text: str) -> dict[str, Any]:
    """What the groups of the pattern's first match hold."""
    compiled = compile_pattern(pattern)
    groups = compiled.search(text)
    if groups is None:
        raise ReplyError(f"the pattern does not match: {text[:80]!r}")
    names = [name or outputs[0].name for name in compiled.names]
    return {name: group.strip() for name, group in zip(names, groups, strict=True) if group is not None}


def read_text(outputs: list[Field], text: str) -> dict[str, Any]:
    """The whole reply is the one output; a repeated label is dropped."""
    label = f"{outputs[0].label}:"
    value = text.strip()
    return {outputs[0].name: value[len(label) :] if value.startswith(label) else value}


def read_labels(outputs: list[Field], text: str) -> dict[str, Any]:
    """`Label: value` sections, each up to the next label; of a repeated label the first counts."""
    names = {field.label: field.name for field in outputs}
    labels = list(re.finditer(rf"^[ \t]*({'|'.join(map(re.escape, names))}):", text, re.MULTILINE))
    ends = [label.start() for label in labels[1:]] + [len(text)]
    values: dict[str, Any] = {}
    for label, end in zip(labels, ends, strict=False):  # without a label there is still the end of the text
        values.setdefault(names[label[1]], text[label.end() : end].strip())
    return values


def read_markers(outputs: list[Field], text: str) -> dict[str, Any]:
    """DSPy's `[[ ## name ## ]]` sections; of a repeated name the first counts."""
    parts = re.split(f"^{MARKER}", text, flags=re.MULTILINE)
    values: dict[str, Any] = {}
    for name, value in zip(parts[1::2], parts[2::2], strict=True):
        values.setdefault(name, value.strip())
    return {field.name: values[field.name] for field in outputs if field.name in values}


def read_object(outputs: list[Field], text: str) -> dict[str, Any]:
    """The first JSON object in the reply."""
    start = text.find("{")
    try:
        value, _ = OBJECT.raw_decode(text[max(start, 0) :])
    except (ValueError, RecursionError) as error:
        raise ReplyError(f"the reply is no JSON object: {text[:80]!r}") from error
    if not isinstance(value, dict) or is_too_deep(value):
        raise ReplyError(f"the reply is no JSON object: {text[:80]!r}")
    return {field.name: value[field.name] for field in outputs if field.name in value}


READERS = {"text": read_text, "labels": read_labels, "markers": read_markers, "json": read_object}
