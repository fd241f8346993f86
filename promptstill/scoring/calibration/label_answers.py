"""What a prompt answers, told by log-probabilities of its labels: a row that was read once is answered for each bias.

Only where the reply is a label alone, taken greedily: it is the likeliest of the tokens that the grammar allows, each
with its bias. A prompt and all its calibrations ask the same requests then, so that the second strength costs no call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from promptstill.endpoint.client import Client
from promptstill.endpoint.store import Completion
from promptstill.prompt.prompt import Prompt
from promptstill.scoring.answer import ModelAnswer, Question, read_answer
from promptstill.scoring.calibration import NoCalibration
from promptstill.scoring.calibration.calibrate import Calibrator
from promptstill.scoring.calibration.forks import Branch, Fork
from promptstill.scoring.calibration.readings import TOKEN, ask, read_reply, reading_request
from promptstill.task.examples import Example


@dataclass(frozen=True)
class LabelForm:
    """How replies that are a label alone are spelled. texts: by label. lengths: in tokens, the end of the reply
    counted. forks: where they part."""

    texts: tuple[str, ...]
    lengths: tuple[int, ...]
    forks: tuple[Fork, ...]

    def fork_after(self, path: tuple[int, ...]) -> Fork | None:
        """The fork whose branches come right behind these tokens."""
        return next((fork for fork in self.forks if fork.path == path), None)

    @property
    def is_told(self) -> bool:
        """Whether each later fork comes right behind a branch of another: at tokens between them a reply might be
        spelled in another way."""
        behind = {(*fork.path, branch.token) for fork in self.forks for branch in fork.branches}
        return all(fork.path in behind for fork in self.forks[1:])


class LabelAnswers:
    """Answers of the prompts of one search. calibrator: knows how their replies spell labels."""

    def __init__(self, calibrator: Calibrator) -> None:
        self.calibrator = calibrator
        self._forms: dict[tuple[str, ...], LabelForm | None] = {}

    async def answer(self, prompt: Prompt, row: Example, client: Client) -> ModelAnswer | None:
        """The prompt's answer to a row; None where log-probabilities do not tell, so that the prompt must be asked.

        A row takes one call, and one more for each later place where the labels that are still possible part. Raises
        what `Client.complete` raises, but for `RequestRefused`.
        """
        form = await self._form(prompt, row)
        # Of labels that part at several places a reading takes several calls: it pays where strengths share them.
        if form is None or (len(form.forks) > 1 and not prompt.decoding.logit_bias):
            return None
        return await read_label(form, prompt, row.inputs, client)

    async def is_read(self, prompt: Prompt, row: Example, client: Client) -> bool:
        """Whether the reading of a row is stored that tells the prompt's answer: `answer` takes no call then."""
        form = await self._form(prompt, row)
        if form is None or len(form.forks) > 1:
            return False
        (fork,) = form.forks
        stored = client.find_stored(reading_request(fork, fork, Question(prompt, row.inputs)))
        return stored is not None and likeliest(fork, stored, prompt.decoding.logit_bias) is not None

    async def _form(self, prompt: Prompt, row: Example) -> LabelForm | None:
        decoding = prompt.decoding
        choice = tuple((decoding.structured or {}).get("choice") or ())
        if not choice or len(prompt.outputs) > 1 or decoding.temperature or not decoding.dialect.temperature:
            return None
        if choice not in self._forms:
            self._forms[choice] = await self._find_form(prompt, row)
        return self._forms[choice]

    async def _find_form(self, prompt: Prompt, row: Example) -> LabelForm | None:
        try:
            reply, forks = await self.calibrator.forks(prompt, row)
        except NoCalibration:
            return None
        tokens = await self.calibrator.tokens(prompt.model, reply.beginnings)
        form = LabelForm(reply.beginnings, tuple(len(one.ids) + 1 for one in tokens), tuple(forks))
        return form if form.is_told else None


async def read_label(form: LabelForm, prompt: Prompt, inputs: Mapping[str, Any], client: Client) -> ModelAnswer | None:
    """The answer as `LabelAnswers.answer` gives it."""
    question, first, bias = Question(prompt, inputs), form.forks[0], prompt.decoding.logit_bias
    fork, read, labels = first, list[Completion](), first.labels
    while True:
        read.append(await ask(fork, first, question, client, "task"))
        branch = likeliest(fork, read[-1], bias)
        if branch is None:
            return None
        path, labels = (*fork.path, branch.token), branch.labels
        if (after := form.fork_after(path)) is None:
            break
        fork = after
    (label,) = labels
    whole = replace(
        read[0],
        text=form.texts[label],
        finish_reason="stop",
        completion_tokens=form.lengths[label],
        seconds=sum(one.seconds for one in read),
        log_probs=None,
    )
    return read_answer(prompt, whole)


def likeliest(fork: Fork, reply: Completion, bias: Mapping[str, float]) -> Branch | None:
    """The branch that a greedy reply takes; None where the reading does not tell. bias: by token id."""
    found: Sequence[float] = read_reply(fork, reply)
    if np.isnan(found).any():
        return None
    if bias:
        values = np.array(found) + [bias.get(str(branch.token), 0.0) for branch in fork.branches]
        return fork.branches[int(values.argmax())]
    top = (reply.log_probs or [])[len(fork.path)]
    taken = max(top, key=top.__getitem__)
    return next((branch for branch in fork.branches if f"{TOKEN}{branch.token}" == taken), None)
