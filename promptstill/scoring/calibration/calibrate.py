"""Calibrates prompts: measures the bias of each, and gives the prompt with the `logit_bias` that takes it back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from promptstill.endpoint.client import Client
from promptstill.endpoint.tokenize import Tokens, tokenize
from promptstill.prompt.decoding import MOST_BIAS
from promptstill.prompt.fields import as_text
from promptstill.prompt.prompt import Prompt
from promptstill.scoring.answer import Question
from promptstill.scoring.calibration import NONE, Kind, NoCalibration
from promptstill.scoring.calibration.bias import Correction, fit, mean_bias
from promptstill.scoring.calibration.forks import MOST_FORKS, Fork, find_forks
from promptstill.scoring.calibration.readings import read_fork
from promptstill.scoring.calibration.reply import LabelReply, find_label_reply
from promptstill.scoring.evaluate import gather_or_cancel
from promptstill.task.examples import Example

STRENGTHS: Mapping[Kind, float] = {"none": 0.0, "half": 0.5, "full": 1.0, "fitted": 1.0}  # share of the bias taken back
MOST_ROWS = 96  # a bias changes little beyond
LATER_ROWS = 24  # of them, at each place but the first where labels part
FEWEST_ROWS = 8  # readings of a fork, below which its mean says nothing
LIFT = 30.0  # logits that all labels' tokens get where the label is the whole reply
DIGITS = 4  # of a bias in a request
FOLDS = 4  # of the labelled rows, by which it is told how often a fitted bias is right on others
PromptFor = Callable[[Example], Prompt]
Bias = Mapping[str, Mapping[str, float]]  # `logit_bias` and `logit_bias_texts`, as in `Decoding`


@dataclass(frozen=True)
class ForkCorrection:
    """A fork, and what is added to the logits of its branches."""

    fork: Fork
    correction: Correction


@dataclass(frozen=True)
class Calibration:
    """What takes a prompt's bias back.

    labels: their texts. forks: where they part, with a correction for each. lift: what the tokens of all labels get
    besides, so that the reply keeps to the tokens that were measured: others may spell the same label.
    """

    labels: tuple[str, ...]
    forks: tuple[ForkCorrection, ...]
    lift: float = 0.0

    @property
    def bias(self) -> Bias:
        """What a prompt's decoding has of it."""
        return {"logit_bias": self.logit_bias, "logit_bias_texts": self.logit_bias_texts}

    @property
    def logit_bias(self) -> dict[str, float]:
        """For a request: values by token ids as text."""
        found = {}
        for one in self.forks:
            for branch, value in zip(one.fork.branches, one.correction.values, strict=True):
                found[str(branch.token)] = rounded(value + self.lift)
        return found

    @property
    def logit_bias_texts(self) -> dict[str, float]:
        """The corrections by label, without the lift, which all share; those of several forks are added up."""
        total = dict.fromkeys(self.labels, 0.0)
        for one in self.forks:
            for branch, value in zip(one.fork.branches, one.correction.values, strict=True):
                for label in branch.labels:
                    total[self.labels[label]] += value
        return {label: rounded(value) for label, value in total.items()}

    def apply(self, prompt: Prompt) -> Prompt:
        """The prompt with this bias; it sends no token more."""
        return with_bias(prompt, self.bias)


class Calibrator:
    """Calibrates the prompts of one search at one endpoint.

    rows: train inputs, labelled or not; the first `MOST_ROWS` are asked. labelled: rows with gold labels for the fitted
    kind, likewise, none of them dev; those that are among `rows` too cost no second call. most_forks: the places where
    labels may part. All calls are stored, so that a prompt which is calibrated again costs none.
    """

    def __init__(
        self,
        client: Client,
        rows: Sequence[Example],
        labelled: Sequence[Example] = (),
        most_forks: int = MOST_FORKS,
    ) -> None:
        self.client, self.rows, self.most_forks = client, rows[:MOST_ROWS], most_forks
        self.labelled = [row for row in labelled if row.outputs][:MOST_ROWS]
        self._tokens: dict[tuple[str, str], Tokens] = {}

    def max_calls(self, kind: Kind) -> int:
        """The calls that the calibration of one prompt takes at most: one shows how a reply writes its label."""
        if kind == NONE:
            return 0
        asked = len({id(row) for row in [*self.rows, *(self.labelled if kind == "fitted" else [])]})
        later = asked if kind == "fitted" else min(LATER_ROWS, asked)
        return 1 + asked + (self.most_forks - 1) * later

    async def calibrate(self, prompt: Prompt, kind: Kind, prompt_for: PromptFor | None = None) -> Prompt:
        """The prompt with its calibration; as it is for the kind `none`. Raises as `find` does."""
        return prompt if kind == NONE else (await self.find(prompt, kind, prompt_for)).apply(prompt)

    async def find(
        self, prompt: Prompt, kind: Kind, prompt_for: PromptFor | None = None, hidden: Sequence[Example] = ()
    ) -> Calibration:
        """The calibration of a prompt.

        prompt_for: what a row is asked, such as the prompt without the row's own group among its demos; the prompt
        itself where it is None. hidden: rows whose labels the fitted kind may not see. Raises `NoCalibration`, and what
        `Client.complete` raises but for `RequestRefused`.
        """
        if not self.rows:
            raise NoCalibration("there are no train rows to measure it on")
        asked = prompt_for or (lambda row: prompt)
        reply, forks = await self.forks(asked(self.rows[0]), self.rows[0])
        reader = ForkReader(self.client, asked, forks[0])
        found = []
        for fork in forks:
            correction = await self._measure(fork, reader, kind)
            if kind == "fitted":
                gold = gold_places(prompt, reply, self.labelled)
                seen = {place: label for place, label in gold.items() if self.labelled[place] not in hidden}
                correction = await self._fit(fork, reader, correction, seen)
            found.append(ForkCorrection(fork, correction))
        return Calibration(reply.labels, tuple(found), LIFT if reply.alone else 0.0)

    async def accuracy(self, prompt: Prompt, kind: Kind, prompt_for: PromptFor | None = None) -> float:
        """The share of the rows by which the bias is measured whose gold label is the likeliest one then, 0 to 1; 0.0
        where none is labelled. A fitted bias is found anew for each part of them, from the others. It costs no call
        beside those of `find`, and raises as that does."""
        found = await self.find(prompt, kind, prompt_for)
        asked = self.rows if len(found.forks) == 1 else self.rows[:LATER_ROWS]
        rows, right = [row for row in asked if row.outputs], 0
        groups = list(dict.fromkeys(row.group for row in rows))
        parts = [groups[fold::FOLDS] for fold in range(FOLDS)] if kind == "fitted" else [groups]
        for part in ([row for row in rows if row.group in names] for names in parts):
            if kind == "fitted":
                found = await self.find(prompt, kind, prompt_for, hidden=part)
            right += is_right(prompt, found, part, await self.probabilities(prompt, found, part, prompt_for)).sum()
        return float(right / len(rows)) if rows else 0.0

    async def forks(self, prompt: Prompt, row: Example) -> tuple[LabelReply, list[Fork]]:
        """How the prompt's replies write the labels, and where these part. Raises `NoCalibration`."""
        reply = await find_label_reply(prompt, row.inputs, self.client)
        tokens = await self.tokens(prompt.model, reply.beginnings)
        return reply, find_forks(tokens, alone=reply.alone, most=self.most_forks)

    async def tokens(self, model: str, texts: Sequence[str]) -> list[Tokens]:
        """The tokens of texts, each asked for once. Raises `NoCalibration`."""
        new = [text for text in texts if (model, text) not in self._tokens]
        found = await gather_or_cancel(tokenize(self.client, model, text) for text in new)
        for text, tokens in zip(new, found, strict=True):
            if tokens is None:
                raise NoCalibration("the endpoint does not say how it splits texts into tokens")
            self._tokens[model, text] = tokens
        return [self._tokens[model, text] for text in texts]

    async def _measure(self, fork: Fork, reader: ForkReader, kind: Kind) -> Correction:
        """What takes the bias back that the rows show, at the strength of the kind."""
        if not fork.parts:
            return Correction((0.0,))
        rows = self.rows if fork == reader.first else self.rows[:LATER_ROWS]
        for count in (FEWEST_ROWS, len(rows)):  # a few first: where none of them tells anything, none will
            read = known(await reader.read(fork, rows[:count]))
            if not len(read) or len(read) < min(count, len(rows)) / 4:
                raise NoCalibration("its replies do not write the labels by the tokens expected")
        bias = mean_bias(read, [len(branch.labels) for branch in fork.branches])
        return Correction(tuple(float(one) for one in -STRENGTHS[kind] * bias))

    async def _fit(self, fork: Fork, reader: ForkReader, prior: Correction, gold: Mapping[int, int]) -> Correction:
        """The correction that the labelled rows behind a fork ask for. gold: the label of each of `labelled`."""
        branch = {label: place for place, one in enumerate(fork.branches) for label in one.labels}
        places = [place for place, label in gold.items() if label in branch]
        if not fork.parts or not places:
            return prior
        read = await reader.read(fork, [self.labelled[place] for place in places])
        kept = ~np.isnan(read).any(axis=1)
        wanted = np.array([branch[gold[place]] for place in places])
        return fit(read[kept], wanted[kept], np.array(prior.values))

    async def probabilities(
        self, prompt: Prompt, calibration: Calibration, rows: Sequence[Example], prompt_for: PromptFor | None = None
    ) -> np.ndarray:
        """The probability of each label on rows, (rows, labels), in the order of the calibration's labels; NaN for a
        row whose reply does not tell. It asks each row once at each place where labels part, and raises as `find`.
        """
        reader = ForkReader(self.client, prompt_for or (lambda row: prompt), calibration.forks[0].fork)
        product = np.ones((len(rows), len(calibration.labels)))
        for one in calibration.forks:
            if one.fork.parts:
                found = one.correction.probabilities(await reader.read(one.fork, rows))
                for branch, column in zip(one.fork.branches, found.T, strict=True):
                    product[:, list(branch.labels)] *= column[:, None]
        return product


@dataclass(frozen=True)
class ForkReader:
    """Reads forks of one prompt. first: the first of them."""

    client: Client
    prompt_for: PromptFor
    first: Fork

    async def read(self, fork: Fork, rows: Sequence[Example]) -> np.ndarray:
        """As `read_fork`, for rows."""
        questions = [Question(self.prompt_for(row), row.inputs) for row in rows]
        return (await read_fork(fork, self.first, questions, self.client)).reshape(len(rows), len(fork.branches))


def with_bias(prompt: Prompt, bias: Bias) -> Prompt:
    """The prompt with a bias in its decoding."""
    return prompt.model_copy(update={"decoding": prompt.decoding.model_copy(update=dict(bias))})


def is_right(
    prompt: Prompt, calibration: Calibration, rows: Sequence[Example], probabilities: np.ndarray
) -> np.ndarray:
    """Whether the likeliest label of each row is its gold label, (rows,); False where the reply does not tell, or the
    gold is none of the labels. probabilities: as `Calibrator.probabilities` gives them."""
    name = prompt.outputs[0].name
    likeliest = np.nan_to_num(probabilities, nan=-1.0).argmax(axis=1)
    same = [
        calibration.labels[label] == as_text(row.outputs.get(name)) for label, row in zip(likeliest, rows, strict=True)
    ]
    return np.asarray(np.logical_and(same, ~np.isnan(probabilities).any(axis=1)))


def known(read: np.ndarray) -> np.ndarray:
    """The rows without NaN."""
    return np.asarray(read[~np.isnan(read).any(axis=1)])


def gold_places(prompt: Prompt, reply: LabelReply, rows: Sequence[Example]) -> dict[int, int]:
    """The place of the gold label among the labels, by the row's place; without rows whose gold is none of them."""
    name = prompt.outputs[0].name
    gold = {place: as_text(row.outputs.get(name)) for place, row in enumerate(rows)}
    return {place: reply.labels.index(text) for place, text in gold.items() if text in reply.labels}


def rounded(value: float) -> float:
    """A bias as a request has it."""
    return round(min(max(value, -MOST_BIAS), MOST_BIAS), DIGITS)
