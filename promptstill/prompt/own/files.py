"""The forms of a user's prompt file, each read and written: Markdown with role headings, OpenAI messages, plain text.

Beside its messages a file may say how it is decoded and how the reply is read: Markdown in a block of `key: value`
lines between two lines of three hyphens, JSON as keys beside "messages".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from promptstill.errors import UserError
from promptstill.files import similar_file
from promptstill.prompt.own.slots import keep_outer_space, quote
from promptstill.strict_json import parse_json

Role = Literal["system", "user", "assistant"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant")
MARKDOWN, JSON, TEXT = (".md", ".markdown"), (".json",), (".txt", ".j2", ".jinja", ".jinja2")
MAX_BYTES = 2**20
HEADING = re.compile(r"^#[ \t]+(system|user|assistant)[ \t]*$", re.IGNORECASE | re.MULTILINE)
SETTINGS = (
    *("temperature", "max_tokens", "min_tokens", "stop", "response_format", "structured_outputs", "logit_bias"),
    *("raw", "reply", "prefix", "pattern", "path"),
)
IGNORED = ("model",)  # the run names the model that is asked


@dataclass(frozen=True)
class OwnFile:
    """A file's messages, their slots as the file has them, and its settings by the names of SETTINGS."""

    messages: Sequence[tuple[Role, str]]
    settings: Mapping[str, Any]


def read_source(path: Path) -> str:
    """The text of the file. Raises `UserError`."""
    if path.suffix.lower() not in (*MARKDOWN, *JSON, *TEXT):
        raise UserError(
            f"{path} is no prompt file by its name.",
            f"It ends with {path.suffix or 'nothing'}.",
            "Give .md (Markdown), .json (OpenAI messages), or .txt, .j2 (one user message).",
        )
    if not path.is_file():
        similar = similar_file(path, "*")
        hint = f"Did you mean {similar}?" if similar else "Check the path; a recipe's own is relative to its folder."
        raise UserError(f"The prompt file {path} does not exist.", "", hint)
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"{path} is larger than 1 MiB.", "A prompt of that size fits no model.", "")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text.", str(error), "Save it as UTF-8.") from error


def read_own_file(path: Path, source: str) -> OwnFile:
    """The file's messages and settings. Raises `UserError`."""
    suffix = path.suffix.lower()
    if suffix in JSON:
        return read_messages(path, source)
    if suffix in TEXT:
        return OwnFile([("user", source.removesuffix("\n"))], {})
    return read_markdown(path, source)


def read_markdown(path: Path, source: str) -> OwnFile:
    """Sections under `# system`, `# user` and `# assistant`, or without any the whole text as one user message."""
    settings, body, first_line = split_settings(path, source)
    headings = list(HEADING.finditer(body))
    if not headings:
        return OwnFile([("user", body.strip())], settings)
    if body[: headings[0].start()].strip():
        line = first_line + len(body) - len(body.lstrip("\n")) if body[0] == "\n" else first_line
        heading = headings[0][0].strip()
        raise UserError(
            f"{path}, line {line}: text stands before the first role, {heading}.",
            "It would belong to no message.",
            f"Put # system above it, or, if {heading} is text, write {quote('#')}{heading[1:]}.",
        )
    ends = [heading.start() for heading in headings[1:]] + [len(body)]
    texts = [body[heading.end() : end].strip() for heading, end in zip(headings, ends, strict=True)]
    return OwnFile(
        [(cast(Role, heading[1].lower()), text) for heading, text in zip(headings, texts, strict=True)], settings
    )


def split_settings(path: Path, source: str) -> tuple[dict[str, Any], str, int]:
    """The settings between two lines of three hyphens at the top, the text below, and the number of its first line."""
    lines = source.split("\n")
    if lines[0].rstrip() != "---":
        return {}, source, 1
    end = next((number for number, line in enumerate(lines[1:], 1) if line.rstrip() == "---"), 0)
    settings: dict[str, Any] = {}
    for number, line in enumerate(lines[1:end], 2):
        key, colon, text = line.partition(":")
        if not line.strip():
            continue
        if not colon or key.strip() not in (*SETTINGS, *IGNORED):
            raise unknown_setting(f"{path}, line {number}", key.strip())
        settings[key.strip()] = setting_value(text.strip())
    return settings, "\n".join(lines[end + 1 :] if end else lines), end + 2 if end else 1


def setting_value(text: str) -> Any:
    """JSON, or else the text as it is."""
    try:
        return parse_json(text)
    except ValueError:
        return text


def unknown_setting(where: str, key: str) -> UserError:
    return UserError(
        f"{where}: {key[:80]!r} is no setting of a prompt.",
        f"There are {', '.join(SETTINGS)}.",
        "Remove it: what is not in a request of promptstill cannot be measured.",
    )


def read_messages(path: Path, source: str) -> OwnFile:
    """OpenAI's messages: a list of them, or an object with "messages" and settings."""
    try:
        value = parse_json(source)
    except ValueError as error:
        raise UserError(
            f"{path} is not JSON.", str(error), 'Write {"messages": [{"role": …, "content": …}]}.'
        ) from error
    given = {"messages": value} if isinstance(value, list) else value
    if not isinstance(given, dict) or not isinstance(given.get("messages"), list):
        raise UserError(f"{path} holds no messages.", "", 'Write {"messages": [{"role": …, "content": …}]}.')
    settings = {key: one for key, one in given.items() if key not in ("messages", "max_completion_tokens")}
    if "max_completion_tokens" in given:
        settings["max_tokens"] = given["max_completion_tokens"]
    for key in settings:
        if key not in (*SETTINGS, *IGNORED):
            raise unknown_setting(str(path), key)
    return OwnFile(list(to_messages(path, given["messages"])), settings)


def to_messages(path: Path, messages: Sequence[Any]) -> Iterator[tuple[Role, str]]:
    """Each message as role and text. Raises `UserError` for one that no chat of texts has."""
    for number, message in enumerate(messages, 1):
        match message:
            case {"role": "system" | "user" | "assistant" as role, "content": str(content), **rest} if not rest:
                yield role, content
            case _:
                raise UserError(
                    f"{path}: message {number} is no message of role and text.",
                    f"It is {json.dumps(message, ensure_ascii=False)[:120]}.",
                    'Write {"role": "system", "user" or "assistant", "content": "…"}; images and tools are not taken.',
                )


def write_markdown(file: OwnFile) -> str:
    """The file as Markdown."""
    parts = [f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in file.settings.items()]
    head = f"---\n{''.join(parts)}---\n\n" if parts else ""
    sections = []
    for role, text in file.messages:
        bare = HEADING.sub(lambda found: quote("#") + found[0][1:], keep_outer_space(text))
        sections.append(f"# {role}\n\n{bare}\n")
    return head + "\n".join(sections)


def write_messages(file: OwnFile) -> str:
    """The file as OpenAI messages, beside the settings."""
    messages = [{"role": role, "content": text} for role, text in file.messages]
    return json.dumps({**file.settings, "messages": messages}, indent=2, ensure_ascii=False) + "\n"
