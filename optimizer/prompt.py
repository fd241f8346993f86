"""The prompt: the one renderer of what is scored in the search, trained on in distillation and sent in serving.

`Prompt.messages` is the only function that turns inputs into messages. Inputs are data: they fill slots in one pass and
are never read again as a template. Imports neither DSPy nor torch.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError, model_validator

from optimizer.errors import ReplyError, UserError
from optimizer.fields import Field
from optimizer.files import digest
from optimizer.nearest import NearestIndex
from optimizer.reply import READERS
from optimizer.template import DEMOS_SLOT, check_slots, defuse, fill, slots

SCHEMA_VERSION = 1
MAX_BYTES = 16 * 2**20
RAW_TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"
Layout = Literal["chat", "inline", "raw", "dspy-chat", "json"]


class Value(BaseModel):
    """A value read from a file: immutable, and no unknown key passes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Message(Value):
    """One chat message; in a template, `content` has `{field}` slots and doubled braces."""

    role: Literal["system", "user", "assistant"]
    content: str


class Nearest(Value):
    """Demos chosen for each input: the `k` rows of `pool` nearest by `fields`, rendered by the templates of `demo`.

    They stand as messages before the last one or, `inside` it, in its demo slot.
    """

    k: int
    fields: list[str]
    demo: list[Message]
    inside: bool
    pool: list[dict[str, Any]]


class Reply(Value):
    """How the reply is read. `prefix` is what the prompt has already written of it."""

    style: Literal["text", "labels", "markers", "json"]
    prefix: str = ""


class Decoding(Value):
    """The sampling half of a request; `structured` and `response_format` go to the engine as they are.

    A `stop` counts only after `min_tokens`: a line end, the stop of a one-line answer, would else often be all of it.
    """

    temperature: float = 0.0
    max_tokens: int
    min_tokens: int = 0
    stop: list[str] = []
    structured: dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None


class Prompt(Value):
    """A frozen prompt: fixed messages, the template of the last user message, how to decode and how to read.

    `markers` are the strings that its model's tokenizer reads as structure; inputs and demos are kept free of them.
    """

    layout: Layout
    model: str
    instruction: str
    inputs: list[Field]
    outputs: list[Field]
    fixed: list[Message]
    user: str
    nearest: Nearest | None = None
    markers: list[str] = []
    reply: Reply
    decoding: Decoding
    _index: NearestIndex | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _slots_are_fields(self) -> Prompt:
        inputs = {field.name for field in self.inputs}
        check_slots(self.user, inputs | {DEMOS_SLOT})
        for message in self.nearest.demo if self.nearest else []:
            check_slots(message.content, inputs | {field.name for field in self.outputs})
        return self

    @property
    def id(self) -> str:
        """sha256 of the content: two prompts with one id send the same bytes. Defaults are left out, so that a field
        that a later version adds does not change the ids of earlier prompts."""
        return digest(self.model_dump(mode="json", exclude_defaults=True))

    @classmethod
    def load(cls, path: str | Path) -> Prompt:
        """The prompt inside a best.json. Raises `UserError` for a file that is none, or is newer than this version."""
        return cls.from_artifact(read_artifact(Path(path)), str(path))

    @classmethod
    def from_artifact(cls, artifact: Mapping[str, Any], name: str) -> Prompt:
        """The prompt inside a decoded best.json, its id checked."""
        try:
            prompt = cls.model_validate(artifact.get("prompt"))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "prompt"
            raise UserError(
                f"{name} holds no valid prompt.", f"{where}: {first['msg']}.", "Write it again with optimize."
            ) from error
        if artifact.get("id") not in (None, prompt.id):
            raise UserError(
                f"{name} was changed by hand.",
                "Its id is not the hash of its prompt, so its scores belong to another prompt.",
                'Restore the file, or remove its "id" and "scores" to use it unscored.',
            )
        return prompt

    def messages(self, inputs: Mapping[str, Any]) -> list[dict[str, str]]:
        """The chat messages for one row of inputs. Raises `UserError` that names a missing, unknown or wrong field."""
        self.check(inputs)
        given = {field.name: inputs[field.name] for field in self.inputs}
        demos, values = self._nearest_demos(given), defuse(given, self.markers)
        turns = [message.model_dump() for message in self.fixed]
        if self.nearest and not self.nearest.inside:
            return [*turns, *demos, {"role": "user", "content": fill(self.user, values)}]
        block = "".join(demo["content"] for demo in demos)
        return [*turns, {"role": "user", "content": fill(self.user, values, block)}]

    def request(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The body of an OpenAI chat completion call for one row of inputs."""
        return self._body(self.messages(inputs))

    def _body(self, messages: list[dict[str, str]]) -> dict[str, Any]:
        decoding = self.decoding
        body: dict[str, Any] = {"model": self.model, "messages": messages}
        body |= {"temperature": decoding.temperature, "max_tokens": decoding.max_tokens}
        if decoding.stop:
            body["stop"] = decoding.stop
        if decoding.min_tokens:
            body["min_tokens"] = decoding.min_tokens
        if decoding.structured:
            body["structured_outputs"] = decoding.structured
        if decoding.response_format:
            body["response_format"] = decoding.response_format
        if self.layout == "raw":
            body |= {"chat_template": RAW_TEMPLATE, "add_special_tokens": True}
        return body

    def parse(self, text: str) -> dict[str, Any]:
        """The outputs in a reply, typed. Raises `ReplyError` where it does not hold them all."""
        if not text.strip():
            raise ReplyError("the reply is empty")
        found = READERS[self.reply.style](self.outputs, self.reply.prefix + text)
        missing = [field.name for field in self.outputs if field.name not in found]
        if missing:
            raise ReplyError(f"the reply has no {' and no '.join(missing)}: {text[:80]!r}")
        return {field.name: field.accept(found[field.name]) for field in self.outputs}

    def check(self, inputs: Mapping[str, Any]) -> None:
        """Refuse inputs that are not exactly the prompt's fields, by name."""
        expected = [field.name for field in self.inputs]
        missing = [name for name in expected if name not in inputs]
        unknown = [name for name in inputs if name not in expected]
        wrong = [field.name for field in self.inputs if field.is_text and not isinstance(inputs.get(field.name), str)]
        for kind, names in (("missing", missing), ("unknown", unknown), ("not a string", wrong)):
            if names:
                raise UserError(f"Input {', '.join(names)}: {kind}.", "", f"This prompt takes {', '.join(expected)}.")

    def to_openai(self) -> dict[str, Any]:
        """The request body with `{field}` left in place of the inputs."""
        fixed = [message.model_dump() for message in self.fixed]
        return self._body([*fixed, {"role": "user", "content": self._shown_user()}])

    def to_jinja(self) -> str:
        """A Jinja template of the last user message; with nearest demos it takes them as `demos`."""
        parts = []
        for literal, slot in slots(self.user):
            parts.append(
                "{{ " + json.dumps(literal, ensure_ascii=False) + " }}" if re.search(r"[{}]", literal) else literal
            )
            parts.append("" if slot is None else "{{ demos }}" if slot[0] == DEMOS_SLOT else "{{ " + slot[0] + " }}")
        return "".join(parts)

    def to_markdown(self) -> str:
        """The prompt for a reader: each message under its role, slots as `{field}`."""
        lines = [f"**layout** {self.layout} · **model** {self.model} · **id** {self.id[:12]}", ""]
        for message in [*self.fixed, Message(role="user", content=self._shown_user())]:
            head = [] if self.layout == "raw" else [f"### {message.role}", ""]
            lines += [*head, "````text", message.content, "````", ""]
        if self.nearest:
            by = ", ".join(self.nearest.fields)
            lines += [
                f"Before the question stand the {self.nearest.k} demos nearest by {by}, of "
                f"{len(self.nearest.pool)}, the nearest last.",
                "",
            ]
        return "\n".join(lines)

    def _shown_user(self) -> str:
        return fill(self.user, {field.name: "{" + field.name + "}" for field in self.inputs}, "{demos}")

    def _nearest_demos(self, values: Mapping[str, Any]) -> list[dict[str, str]]:
        if self.nearest is None:
            return []
        if self._index is None:
            names = [field.name for field in self.inputs]
            self._index = NearestIndex(self.nearest.pool, self.nearest.fields, names)
        rows = [defuse(row, self.markers) for row in self._index.pick(values, self.nearest.k)]
        return [{"role": m.role, "content": fill(m.content, row)} for row in rows for m in self.nearest.demo]


def read_artifact(path: Path) -> dict[str, Any]:
    """A decoded best.json. Raises `UserError` for a missing, oversized, broken or newer file."""
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.json")], 1)
        hint = f"Did you mean {path.parent / near[0]}?" if near else "Make it with: optimize RECIPE.py"
        raise UserError(f"{path} does not exist.", "", hint)
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"{path} is larger than 16 MiB.", "An artifact that optimize wrote never is.", "")
    try:
        artifact = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not JSON.", str(error), "Give the best.json that optimize wrote.") from error
    version = artifact.get("schema_version") if isinstance(artifact, dict) else None
    if not isinstance(version, int):
        raise UserError(f"{path} is no promptstill artifact.", "It has no schema_version.", "Give a best.json.")
    if version > SCHEMA_VERSION:
        raise UserError(
            f"{path} has schema_version {version}.",
            f"This promptstill reads up to {SCHEMA_VERSION}.",
            "Upgrade promptstill: pip install --upgrade promptstill",
        )
    return dict(artifact)


def read_best(path: Path) -> dict[str, Any]:
    """A decoded best.json with what its search measured, as distill and the gate need it. Raises `UserError`."""
    artifact = read_artifact(path)
    if "search" not in artifact:
        raise UserError(
            f"{path} is not what optimize wrote.",
            "It holds a prompt, but no search: distill's prompt.json is such a file.",
            "Give the best.json that it came from.",
        )
    return artifact
