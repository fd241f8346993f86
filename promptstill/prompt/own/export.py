"""A prompt of any layout as a user's file: reading the file gives a prompt that sends the same requests."""

from __future__ import annotations

from typing import Any, Literal

from promptstill.errors import UserError
from promptstill.prompt.own.files import OwnFile, write_markdown, write_messages
from promptstill.prompt.own.slots import to_source
from promptstill.prompt.prompt import Message, Prompt
from promptstill.prompt.template import escape_braces


def export(prompt: Prompt, form: Literal["md", "json"]) -> str:
    """The prompt as Markdown or as OpenAI messages. Raises `UserError` for one that no such file can hold."""
    if prompt.nearest is not None:
        raise UserError(
            "This prompt picks its demos anew for each input, which a file of messages cannot do.",
            f"It shows the {prompt.nearest.k} nearest of {len(prompt.nearest.pool)} rows.",
            "Use it by Prompt.load and messages(), or by serve.",
        )
    fixed = prompt.fixed if prompt.templated else [escaped(message) for message in prompt.fixed]
    try:
        messages = [(one.role, to_source(one.content)) for one in fixed]
        messages.append(("user", to_source(prompt.user)))
    except ValueError as error:
        raise UserError(f"This prompt cannot be a file of messages: {error}.", "", "Use it by Prompt.load.") from error
    file = OwnFile(messages, settings_of(prompt))
    return write_markdown(file) if form == "md" else write_messages(file)


def escaped(message: Message) -> Message:
    """A message that is text, as a template."""
    return Message(role=message.role, content=escape_braces(message.content))


def settings_of(prompt: Prompt) -> dict[str, Any]:
    """The decoding and how the reply is read, without what is the default of a file."""
    decoding, reply = prompt.decoding, prompt.reply
    settings: dict[str, Any] = {"temperature": decoding.temperature, "max_tokens": decoding.max_tokens}
    settings |= {"min_tokens": decoding.min_tokens, "stop": decoding.stop}
    settings |= {"response_format": decoding.response_format, "structured_outputs": decoding.structured}
    settings |= {"logit_bias": decoding.logit_bias}
    settings |= {"raw": prompt.layout == "raw", "prefix": reply.prefix}
    if reply.style == "pattern":
        settings["pattern"] = reply.pattern
    elif reply.style == "path":
        settings["path"] = next(iter(reply.paths.values())) if len(reply.paths) == 1 else reply.paths
    else:
        settings["reply"] = reply.style
    return {key: value for key, value in settings.items() if value}
