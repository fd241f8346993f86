"""The prompt as search, distillation and serving use it: inputs become messages here, and nowhere else.

`Prompt.messages` is the only function that renders. Inputs are data: they fill slots in one pass and are never read as
a template. This module imports neither DSPy nor torch.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field as Attribute
from pydantic import PrivateAttr, ValidationError, field_validator, model_validator

from promptstill.dialect import Dialect
from promptstill.errors import ReplyError, UserError
from promptstill.files import digest
from promptstill.prompt.artifact import problem_of, read_artifact
from promptstill.prompt.decoding import NO_BIAS, Decoding
from promptstill.prompt.fields import Field, FrozenModel
from promptstill.prompt.layouts import LAYOUTS, OWN, Layout
from promptstill.prompt.nearest import NearestIndex
from promptstill.prompt.reply import ReplyFormat
from promptstill.prompt.schema import weight_of
from promptstill.prompt.template import DEMOS_SLOT, as_jinja, check_slots, defuse, fill, marker_pattern, slots
from promptstill.prompt.tolerant.read import read_tolerantly
from promptstill.strict_json import is_too_deep

MOST_FIELDS = 64
MOST_IN_POOL = 500_000  # values; indented, a deep one takes over 100 characters
Marker = Annotated[str, Attribute(max_length=200)]
RAW_TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"


class Message(FrozenModel):
    """One chat message. In a template `content` has `{field}` slots and doubled braces."""

    role: Literal["system", "user", "assistant"]
    content: str


class Nearest(FrozenModel):
    """Demos chosen for each input: the `k` rows of `pool` that are nearest by `fields`, each rendered by `demo`.

    They become messages before the last one; where `inside` is true they fill the demo slot of the last one.
    """

    k: int = Attribute(ge=0, le=256)
    fields: list[str] = Attribute(min_length=1, max_length=MOST_FIELDS)
    demo: list[Message] = Attribute(max_length=16)
    inside: bool
    pool: list[dict[str, Any]] = Attribute(max_length=10_000)


def check_nearest(nearest: Nearest, inputs: set[str], outputs: set[str]) -> None:
    """Refuse demos that a prompt with these fields could not render. Raises `ValueError`."""
    templates = [message.content for message in nearest.demo]
    check_slots(templates, inputs | outputs)
    needed = inputs | {slot[0] for template in templates for _, slot in slots(template) if slot}
    if not inputs.issuperset(nearest.fields):
        raise ValueError("nearest.fields names what is no input")
    if not all(needed <= row.keys() for row in nearest.pool):
        raise ValueError("a row of nearest.pool lacks a field")
    if weight_of(nearest.pool, MOST_IN_POOL) > MOST_IN_POOL:
        raise ValueError(f"nearest.pool has more than {MOST_IN_POOL:,} values")


class Prompt(FrozenModel):
    """A prompt: fixed messages, the template of the last user message, how to decode the reply and how to read it.

    markers: the strings that the model's tokenizer reads as structure; in inputs and demos they are broken up.
    templated: whether the fixed messages are templates too, as in a prompt that the user wrote whole.
    """

    layout: Layout
    model: str
    instruction: str
    inputs: list[Field] = Attribute(min_length=1, max_length=MOST_FIELDS)
    outputs: list[Field] = Attribute(min_length=1, max_length=MOST_FIELDS)
    fixed: list[Message] = Attribute(max_length=10_000)
    user: str
    templated: bool = False
    nearest: Nearest | None = None
    markers: list[Marker] = Attribute(default_factory=list, max_length=20_000)
    reply: ReplyFormat
    decoding: Decoding
    _index: NearestIndex | None = PrivateAttr(default=None)
    _left_out: frozenset[int] = PrivateAttr(default=frozenset())

    @field_validator("markers")
    @classmethod
    def _markers_are_few(cls, markers: list[str]) -> list[str]:
        marker_pattern(tuple(markers))
        return markers

    @field_validator("layout")
    @classmethod
    def _layout_is_known(cls, layout: str) -> str:
        if layout not in (*LAYOUTS, OWN):
            raise ValueError(f"{layout!r} is none of {', '.join((*LAYOUTS, OWN))}")
        return layout

    @model_validator(mode="after")
    def _parts_fit(self) -> Prompt:
        inputs, outputs = ({field.name for field in fields} for fields in (self.inputs, self.outputs))
        if len(inputs | outputs) < len(self.inputs) + len(self.outputs):
            raise ValueError("two fields have one name")
        templates = [message.content for message in self.fixed] if self.templated else []
        check_slots([*templates, self.user], inputs | {DEMOS_SLOT})
        self.reply.check(self.outputs)
        if self.nearest and self.templated:
            raise ValueError("a prompt whose fixed messages are templates picks no demos")
        if self.nearest:
            check_nearest(self.nearest, inputs, outputs)
        return self

    @property
    def id(self) -> str:
        """sha256 of the content: two prompts with the same id send the same bytes (but for `leave_out`).

        Default values are left out, so that a field added by a later version does not change earlier ids.
        """
        return digest(self.model_dump(mode="json", exclude_defaults=True))

    @property
    def thinks(self) -> bool:
        """Whether its replies begin with a model's thoughts."""
        return self.decoding.dialect.thinking_tokens > 0

    @classmethod
    def load(cls, path: str | Path) -> Prompt:
        """The prompt inside a best.json. Raises `UserError` for another file, or one of another version."""
        return cls.from_artifact(read_artifact(Path(path)), str(path))

    @classmethod
    def from_artifact(cls, artifact: Mapping[str, Any], name: str) -> Prompt:
        """The prompt inside a decoded best.json, called `name` in messages. Raises `UserError`."""
        try:
            json.dumps(artifact.get("prompt"), ensure_ascii=False).encode()  # half a surrogate pair is no text
            prompt = cls.model_validate(artifact.get("prompt"))
            same = artifact.get("id") in (None, prompt.id)
        except (ValidationError, UnicodeEncodeError) as error:
            raise UserError(
                f"{name} holds no valid prompt.", problem_of(error), "Write it again with optimize."
            ) from error
        if not same:
            raise UserError(
                f"{name} was changed by hand.",
                "Its id is not the hash of its prompt, so its scores belong to another prompt.",
                'Restore the file, or remove its "id" and "scores" to use it unscored.',
            )
        return prompt

    def messages(self, inputs: Mapping[str, Any]) -> list[dict[str, str]]:
        """The chat messages for one row of inputs. Raises `UserError` that names a missing, unknown or wrong field."""
        self.check_inputs(inputs)
        values = {field.name: inputs[field.name] for field in self.inputs}
        demos, values = self._nearest_demos(values), defuse(values, self.markers)
        turns = self._fixed_turns(values)
        if self.nearest and not self.nearest.inside:
            return [*turns, *demos, {"role": "user", "content": fill(self.user, values)}]
        block = "".join(demo["content"] for demo in demos)
        return [*turns, {"role": "user", "content": fill(self.user, values, block)}]

    def leave_out(self, places: Collection[int]) -> Prompt:
        """The same prompt, which never picks the demos at these places of its pool. One for each row is cheap: the
        index is shared, so what else is nearest stays as it is in use."""
        if self.nearest is None:
            return self
        index, other = self._nearest_index(self.nearest), self.model_copy()
        other._index, other._left_out = index, frozenset(places)
        return other

    def asked_of(self, model: str, markers: Sequence[str], dialect: Dialect) -> Prompt:
        """The same prompt for another model, with its chat markers and what its endpoint takes.

        Without the bias of a calibrated prompt, which is this model's own, and names tokens of its vocabulary.
        """
        bias = {} if model == self.model else NO_BIAS
        decoding = self.decoding.model_copy(update={"dialect": dialect.in_prompt, **bias})
        return self.model_copy(update={"model": model, "markers": list(markers), "decoding": decoding})

    def request(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The body of an OpenAI chat completion request for one row of inputs, as the prompt's endpoint takes it."""
        return self._body(self.messages(inputs))

    def _body(self, messages: list[dict[str, str]]) -> dict[str, Any]:
        decoding = self.decoding
        body: dict[str, Any] = {"model": self.model, "messages": messages}
        body |= {"temperature": decoding.temperature, "max_tokens": decoding.max_tokens}
        optional = {"stop": decoding.stop, "min_tokens": decoding.min_tokens, "structured_outputs": decoding.structured}
        optional |= {"response_format": decoding.response_format, "logit_bias": decoding.logit_bias}
        body |= {name: value for name, value in optional.items() if value}
        if self.layout == "raw":
            body |= {"chat_template": RAW_TEMPLATE, "add_special_tokens": True}
        return decoding.dialect.apply(body)

    def parse(self, text: str) -> dict[str, Any]:
        """The outputs in a reply, each of its type: by the layout's own form, or else as models write them (tolerant/).

        Raises `ReplyError` where one is missing, of another type or undecided.
        """
        text = self.decoding.cut(text)
        if not text.strip():
            raise ReplyError("the reply is empty")
        try:
            return self._parse_exactly(text)
        except ReplyError:
            values = read_tolerantly(self.reply, self.inputs, self.outputs, text)
            if values is None:
                raise
            return values

    def _parse_exactly(self, text: str) -> dict[str, Any]:
        values = self.reply.read(self.outputs, text)
        missing = [field.name for field in self.outputs if field.name not in values]
        if missing:
            raise ReplyError(f"the reply has no {' and no '.join(missing)}: {text[:80]!r}")
        return {field.name: field.accept(values[field.name]) for field in self.outputs}

    def check_inputs(self, inputs: Mapping[str, Any]) -> None:
        """Refuse inputs that are not exactly the prompt's fields. Raises `UserError` that names them."""
        expected = [field.name for field in self.inputs]
        missing = [name for name in expected if name not in inputs]
        unknown = [name for name in inputs if name not in expected]
        wrong = [field.name for field in self.inputs if field.is_text and not isinstance(inputs.get(field.name), str)]
        deep = [name for name, value in inputs.items() if not isinstance(value, str) and is_too_deep(value)]
        for kind, names in (
            ("missing", missing),
            ("unknown", unknown),
            ("not a string", wrong),
            ("nested too deeply", deep),
        ):
            if names:
                raise UserError(f"Input {', '.join(names)}: {kind}.", "", f"This prompt takes {', '.join(expected)}.")

    def to_openai(self) -> dict[str, Any]:
        """The request body with `{field}` in place of each input."""
        return self._body(self.preview())

    def to_own(self, form: Literal["md", "json"]) -> str:
        """The prompt as a file that a recipe may name as its baseline (docs/own-prompt.md), with `{{field}}` slots.

        Raises `UserError` for one that picks its demos by input.
        """
        from promptstill.prompt.own.export import export  # it reads prompts, as this module does

        return export(self, form)

    def preview(self, slot: str = "{%s}") -> list[dict[str, str]]:
        """The messages with `{field}` in place of each input, or with another text (`%s` is the field's name)."""
        shown = {field.name: slot.replace("%s", field.name) for field in self.inputs}
        user = fill(self.user, shown, slot.replace("%s", "demos"))
        return [*self._fixed_turns(shown), {"role": "user", "content": user}]

    def to_jinja(self) -> str:
        """A Jinja template of the last user message; nearest demos are its variable `demos`."""
        return as_jinja(self.user)

    def to_dspy(self) -> Any:
        """The prompt as a `dspy.Predict` with instruction and demos, which `save` writes, in DSPy's own layout. Raises
        `UserError` where the demos are picked for each input."""
        from promptstill.prompt.layouts.export import to_predictor

        return to_predictor(self)

    def to_markdown(self) -> str:
        """The prompt as Markdown for a reader: each message under its role, with `{field}` for each input."""
        lines = [f"**layout** {self.layout} · **model** {self.model} · **id** {self.id[:12]}", ""]
        for message in self.preview():
            head = [] if self.layout == "raw" else [f"### {message['role']}", ""]
            lines += [*head, "````text", message["content"], "````", ""]
        if self.nearest:
            by, of = ", ".join(self.nearest.fields), f"{self.nearest.k} of {len(self.nearest.pool)} demos"
            lines += [f"Before the question stand the {of} that are nearest by {by}, the nearest last.", ""]
        return "\n".join(lines)

    def _fixed_turns(self, values: Mapping[str, Any]) -> list[dict[str, str]]:
        turns = [message.model_dump() for message in self.fixed]
        return [turn | {"content": fill(turn["content"], values)} for turn in turns] if self.templated else turns

    def _nearest_demos(self, values: Mapping[str, Any]) -> list[dict[str, str]]:
        if self.nearest is None:
            return []
        index = self._nearest_index(self.nearest)
        rows = [defuse(row, self.markers) for row in index.pick(values, self.nearest.k, self._left_out)]
        return [{"role": m.role, "content": fill(m.content, row)} for row in rows for m in self.nearest.demo]

    def _nearest_index(self, nearest: Nearest) -> NearestIndex:
        if self._index is None:
            self._index = NearestIndex(nearest.pool, nearest.fields, [field.name for field in self.inputs])
        return self._index
