"""A user's prompt file as a `Prompt`: its messages with their slots, its decoding, and how its replies are read."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from promptstill.errors import ReplyError, UserError
from promptstill.prompt.artifact import problem_of
from promptstill.prompt.fields import Field
from promptstill.prompt.layouts import OWN
from promptstill.prompt.own.files import IGNORED, OwnFile, Role, read_own_file, read_source
from promptstill.prompt.own.slots import SlotError, text_and_slots, to_template
from promptstill.prompt.prompt import Message, Prompt
from promptstill.prompt.template import slots
from promptstill.strict_json import parse_json

READ_BY_MODELS = 256  # tokens that a reply of unknown form may have besides its outputs
CHARACTERS_PER_TOKEN = 2  # at least, of a demo's answer


@dataclass(frozen=True)
class OwnPrompt:
    """A prompt that is in use today: a recipe's `baseline`.

    file: .md, .json or .txt (docs/own-prompt.md), relative to the recipe. How to read the answer, by one of: pattern, a
    regular expression with a group for each output; path, the output's place in a JSON answer (`"$.label"`), or a path
    for each output. Without them the file says it, or else the reply is the one output, or a JSON object of several.
    max_tokens: of the reply, instead of the file's.
    """

    file: str | Path
    pattern: str | None = None
    path: str | Mapping[str, str] | None = None
    max_tokens: int | None = None

    @property
    def name(self) -> str:
        """For tables."""
        return Path(self.file).name

    @property
    def settings(self) -> dict[str, Any]:
        """What is said here, by the names that a file has for it."""
        given = {"pattern": self.pattern, "path": self.path, "max_tokens": self.max_tokens}
        return {key: value for key, value in given.items() if value is not None}


def read_own(own: OwnPrompt, inputs: list[Field], outputs: list[Field], model: str, max_tokens: int) -> Prompt:
    """The prompt, as `model` is asked it. max_tokens: what the outputs take. Raises `UserError`."""
    path = Path(own.file)
    source = read_source(path)
    file = read_own_file(path, source)
    settings = {key: value for key, value in file.settings.items() if key not in IGNORED} | own.settings
    messages = to_templates(file, path, source, [field.name for field in inputs])
    *fixed, user = messages
    reply = reply_settings(settings, outputs, answers_of(fixed))
    raw = bool(settings.get("raw"))
    content = {
        "layout": "raw" if raw else OWN,
        "model": model,
        "instruction": own_instruction(messages),
        "inputs": inputs,
        "outputs": outputs,
        "fixed": fixed,
        "user": user.content,
        "templated": True,
        "reply": reply,
        "decoding": decoding_settings(settings, reply, answers_of(fixed), max_tokens),
    }
    try:
        prompt = Prompt.model_validate(content)
    except ValidationError as error:
        raise UserError(
            f"{path} is no prompt that can be sent.", problem_of(error), "Mend the file or the recipe."
        ) from error
    refuse_unreadable_demos(prompt, path)
    return prompt


def to_templates(file: OwnFile, path: Path, source: str, fields: Sequence[str]) -> list[Message]:
    """The messages as templates, the user's last. Raises `UserError`."""
    if not file.messages or file.messages[-1][0] != "user":
        raise UserError(
            f"{path} does not end with a user message.",
            "The last message asks the question; demos are pairs of user and assistant before it.",
            "Put the message with the slots last.",
        )
    try:
        messages = [Message(role=role, content=to_template(text, fields)) for role, text in file.messages]
    except SlotError as error:
        raise error.at(str(path), source) from error
    if not any(slot for message in messages for _, slot in slots(message.content)):
        raise no_slot_error(path, file.messages, fields)
    return messages


def no_slot_error(path: Path, messages: Sequence[tuple[Role, str]], fields: Sequence[str]) -> UserError:
    """A prompt that says the same whatever the row is; often its slots have single braces."""
    text = "\n".join(text for _, text in messages)
    single = [field for field in fields if re.search(r"\{\s*" + field + r"\s*\}", text)]
    why = f"{{{single[0]}}} has single braces, which are text." if single else "Every row would get the same request."
    listed = ", ".join(f"{{{{{field}}}}}" for field in fields)
    return UserError(f"{path} has no slot for an input.", why, f"Write {listed} where the input goes.")


def own_instruction(messages: Sequence[Message]) -> str:
    """What the prompt says before its first slot, in its system message or else in its last one."""
    system = next((message for message in messages if message.role == "system"), messages[-1])
    return text_and_slots(system.content)[0][0].strip()


def answers_of(fixed: Sequence[Message]) -> list[str]:
    """The replies that the prompt shows."""
    answers = (message.content for message in fixed if message.role == "assistant")
    return ["".join(text for text, _ in slots(content)) for content in answers]


def reply_settings(settings: Mapping[str, Any], outputs: Sequence[Field], answers: Sequence[str]) -> dict[str, Any]:
    """How the reply is read, for `ReplyFormat`."""
    if settings.get("pattern") is not None:
        return {"style": "pattern", "pattern": settings["pattern"]}
    if settings.get("path") is not None:
        paths = settings["path"]
        return {"style": "path", "paths": {outputs[0].name: paths} if isinstance(paths, str) else paths}
    prefix = {"prefix": settings["prefix"]} if "prefix" in settings else {}
    if "reply" in settings:
        return {"style": settings["reply"]} | prefix
    names = {field.name for field in outputs}
    as_json = len(names) > 1 or settings.get("response_format") or is_json_of(answers, names)
    return {"style": "json" if as_json else "text"} | prefix


def is_json_of(answers: Sequence[str], names: set[str]) -> bool:
    """Whether all the answers that are shown are JSON objects with the outputs in them."""
    values = []
    for text in answers:
        with contextlib.suppress(ValueError):
            values.append(parse_json(text))
    shown = [value for value in values if isinstance(value, dict) and names <= value.keys()]
    return bool(answers) and len(shown) == len(answers)


def decoding_settings(
    settings: Mapping[str, Any], reply: Mapping[str, Any], answers: Sequence[str], max_tokens: int
) -> dict[str, Any]:
    """For `Decoding`. Where nothing bounds the reply, the answers that are shown do, or else the outputs' form."""
    longest = max(map(len, answers), default=0) // CHARACTERS_PER_TOKEN + 16
    other = 0 if reply["style"] == "text" else READ_BY_MODELS
    decoding: dict[str, Any] = {"max_tokens": max(max_tokens, longest) if answers else max_tokens + other}
    decoding |= {key: settings[key] for key in ("temperature", "max_tokens", "min_tokens") if key in settings}
    stop = settings.get("stop") or []
    decoding["stop"] = [stop] if isinstance(stop, str) else stop
    form = settings.get("response_format")
    decoding["response_format"] = None if form == {"type": "text"} else form
    decoding["logit_bias"] = settings.get("logit_bias") or {}
    return decoding | {"structured": settings.get("structured_outputs")}


def refuse_unreadable_demos(prompt: Prompt, path: Path) -> None:
    """Raises `UserError` where none of the answers that the prompt shows itself would be understood."""
    answers, problem = answers_of(prompt.fixed), ""
    for text in answers:
        try:
            prompt.parse(text.removeprefix(prompt.reply.prefix))
            return
        except ReplyError as error:
            problem = str(error)
    if answers:
        raise UserError(
            f"{path}: not one answer of its own demos can be read.",
            f"{prompt.reply}: {problem}",
            'Say how to read it: OwnPrompt(FILE, path="$.label") for JSON, or pattern=r"Label: (\\w+)".',
        )
