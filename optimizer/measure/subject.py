"""What can be measured: a prompt, or a compiled DSPy program. Each answers the rows in its own way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from optimizer.search.baseline import shown_note
from promptstill.dialect import Dialect
from promptstill.endpoint.client import Client
from promptstill.files import digest
from promptstill.prompt.prompt import Prompt
from promptstill.scoring.evaluate import ScoredRow, gather_or_cancel, score_answer, score_rows
from promptstill.scoring.program import answer_by_module
from promptstill.scoring.unread import FIRST_ROWS, refuse_unread
from promptstill.task.examples import Example
from promptstill.task.program import to_json
from promptstill.task.recipe import Metric


@dataclass(frozen=True)
class Origin:
    """Where a search found a prompt.

    model: on which. engine: what its best.json says of it. scores: its score then by test row, by the row's id; None
    where the search's test.jsonl is not at hand.
    """

    model: str
    scores: Mapping[str, float] | None = None
    engine: Mapping[str, Any] = field(default_factory=dict)


class Subject(Protocol):
    """What is measured. label: what tables call it. origin: None for what no search found."""

    @property
    def label(self) -> str: ...

    @property
    def origin(self) -> Origin | None: ...

    @property
    def id(self) -> str:
        """Of what is asked, the model's name included."""
        ...

    def named(self, label: str) -> Subject:
        """The subject under another label."""
        ...

    def on(self, model: str, markers: Sequence[str], dialect: Dialect) -> Subject:
        """The subject as a model is asked it."""
        ...

    def most_calls(self, rows: Sequence[Example]) -> int:
        """The calls that the rows take at most."""
        ...

    def shown_note(self, rows: Sequence[Example]) -> str:
        """That rows of test stand in it, as demos perhaps; empty where none is seen."""
        ...

    def first_request(self, row: Example) -> dict[str, Any] | None:
        """Its request for a row, by which the endpoint's dialect can be found out; None where it cannot."""
        ...

    async def check(self, rows: Sequence[Example], metric: Metric, client: Client) -> None:
        """Raises `UserError` where nothing is found in the replies to the first rows; they are stored for `score`."""

    async def score(self, rows: Sequence[Example], metric: Metric, client: Client) -> list[ScoredRow]:
        """The results on the rows, in their order."""
        ...


@dataclass(frozen=True)
class PromptSubject:
    """A prompt; in the recipe of a program it stands in the place of the predictor that is searched."""

    label: str
    prompt: Prompt
    origin: Origin | None = None

    @property
    def id(self) -> str:
        return self.prompt.id

    def named(self, label: str) -> PromptSubject:
        return replace(self, label=label)

    def found_on(self, model: str) -> bool:
        """Whether a search found it on the model of this name."""
        return self.origin is not None and self.origin.model == model

    def on(self, model: str, markers: Sequence[str], dialect: Dialect) -> PromptSubject:
        """On the model on which it was found it sends the same requests as then."""
        if self.found_on(model):
            return self
        return replace(self, prompt=self.prompt.asked_of(model, markers, dialect))

    def most_calls(self, rows: Sequence[Example]) -> int:
        return sum(row.program.calls_per_row if row.program else 1 for row in rows)

    def shown_note(self, rows: Sequence[Example]) -> str:
        return shown_note(self.prompt, self.label, rows)

    def first_request(self, row: Example) -> dict[str, Any] | None:
        return None if self.found_on(self.prompt.model) or row.program else self.prompt.request(row.inputs)

    async def check(self, rows: Sequence[Example], metric: Metric, client: Client) -> None:
        if self.prompt.reply.is_declared:
            refuse_unread(self.prompt, await score_rows(self.prompt, rows[:FIRST_ROWS], metric, client))

    async def score(self, rows: Sequence[Example], metric: Metric, client: Client) -> list[ScoredRow]:
        return await score_rows(self.prompt, rows, metric, client)


@dataclass(frozen=True)
class ProgramSubject:
    """A compiled program as it stands: DSPy's own adapter sends its prompts and reads the replies, in its JSON format
    too where a reply does not parse.

    module: a `dspy.Predict`, or the recipe's program with the file's state. outputs: the signature's output fields,
    whose values a row's metric gets as JSON has them; None for a program, which answers for itself. model: empty until
    one is named.
    """

    label: str
    module: Any
    max_tokens: int
    outputs: Mapping[str, Any] | None = None
    model: str = ""
    origin: None = None

    @property
    def id(self) -> str:
        states = [[name, one.signature.dump_state(), one.demos] for name, one in self.module.named_predictors()]
        return digest([states, self.max_tokens, self.model])

    def named(self, label: str) -> ProgramSubject:
        return replace(self, label=label)

    def on(self, model: str, markers: Sequence[str], dialect: Dialect) -> ProgramSubject:
        return replace(self, model=model)

    def most_calls(self, rows: Sequence[Example]) -> int:
        return 2 * len(self.module.predictors()) * len(rows)

    def shown_note(self, rows: Sequence[Example]) -> str:
        demos = [demo for one in self.module.predictors() for demo in one.demos]
        if not (count := sum(any(row.inputs.items() <= demo.items() for demo in demos) for row in rows)):
            return ""
        return f"{count} of {len(rows)} test rows are demos of {self.label}: it is scored too high by them"

    def first_request(self, row: Example) -> None:
        """Its requests are DSPy's to make."""

    async def check(self, rows: Sequence[Example], metric: Metric, client: Client) -> None:
        """Nothing declares how its replies are read."""

    async def score(self, rows: Sequence[Example], metric: Metric, client: Client) -> list[ScoredRow]:
        return await gather_or_cancel(self._score_row(row, metric, client) for row in rows)

    async def _score_row(self, row: Example, metric: Metric, client: Client) -> ScoredRow:
        given = await answer_by_module(self.module, self.model, self.max_tokens, row, client)
        if self.outputs is not None and given.outputs is not None:
            values = {name: to_json(info, given.outputs[name]) for name, info in self.outputs.items()}
            given = replace(given, outputs=values)
        return await score_answer(row, given, metric, client)
