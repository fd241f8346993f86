"""One world of rules: its rows, which rules a prompt holds, how likely it then answers a row right, and its truth.

A rule is a sentence. A prompt holds it where the sentence stands in its text, in whatever case, spacing and
punctuation, or where a demo teaches it. All is a pure function of the world's seed.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product

from benchmarks.simulation.rules.worlds import (
    ACTIONS,
    CLASH,
    CUES,
    DEV,
    FILLER,
    GUESS,
    HELD_OUT,
    LABELS,
    NEEDS,
    SLIP,
    SPREAD,
    TRAIN,
    WorldSpec,
)
from promptstill.files import digest

ROW = re.compile(r"\bnote (\d+):")
WORD = re.compile(r"\w+")
LABEL = re.compile(rf"\b({'|'.join(LABELS)})\b", re.IGNORECASE)
TRAIN_FROM, DEV_FROM, TEST_FROM, HELD_OUT_FROM = 0, 1_000_000, 2_000_000, 3_000_000  # the first row's number
FILLER_WORDS = 8  # of a row's text
SPOILED, SLIPPED = 4, 5  # how far a wrong label is from the right one; 1 to 3: which needed rule was missing
Held = frozenset[int]


@dataclass(frozen=True)
class Row:
    """A row. needs: the rules that it needs, by number. spoiled_by: the clashing pairs that spoil it, by number."""

    number: int
    text: str
    label: str
    needs: tuple[int, ...]
    spoiled_by: frozenset[int]


@dataclass(frozen=True)
class Question:
    """A request's text, apart from the row that it asks about: the last that stands in it."""

    prompt: str
    row: Row


class RulesWorld:
    """A world of these parameters."""

    def __init__(self, spec: WorldSpec) -> None:
        self.spec = spec
        rng = random.Random(f"{spec.seed}-rules")
        self.cues = rng.sample(CUES, spec.rules)
        self.rules = tuple(f"When a note speaks of a {cue}, {rng.choice(ACTIONS)}." for cue in self.cues)
        self.weights = [(rank + 1) ** -SPREAD for rank in range(spec.rules)]
        paired = rng.sample(range(spec.rules), 2 * spec.clashes)
        self.clashes = tuple(zip(paired[::2], paired[1::2], strict=True))
        self._plain = [plain(rule) for rule in self.rules]
        self.row = lru_cache(maxsize=None)(self._row)
        self.held_rules = lru_cache(maxsize=4096)(self._held_rules)

    def _row(self, number: int) -> Row:
        """The row of a number."""
        rng = random.Random(f"{self.spec.seed}-row-{number}")
        count = rng.choices(range(len(NEEDS)), NEEDS)[0]
        needs = pick(rng, self.weights, count)
        words = rng.sample(FILLER, FILLER_WORDS) + [self.cues[rule] for rule in needs if rng.random() < self.spec.cued]
        rng.shuffle(words)
        spoiled_by = frozenset(pair for pair in range(len(self.clashes)) if rng.random() < CLASH)
        return Row(number, f"note {number}: {' '.join(words)}", rng.choice(LABELS), needs, spoiled_by)

    def rows(self, first: int, count: int) -> list[Row]:
        """As many rows, from the one with the number `first`."""
        return [self.row(number) for number in range(first, first + count)]

    @property
    def train(self) -> list[Row]:
        return self.rows(TRAIN_FROM, TRAIN)

    @property
    def dev(self) -> list[Row]:
        return self.rows(DEV_FROM, DEV)

    @cached_property
    def held_out(self) -> list[Row]:
        """The rows that tell the truth; no search sees them."""
        return self.rows(HELD_OUT_FROM, HELD_OUT)

    def uniform(self, *what: object) -> float:
        """A number in (0, 1) that depends on the world and on `what` alone."""
        return (int(digest([self.spec.seed, *what])[:13], 16) + 0.5) / 16**13

    def stated_rules(self, text: str) -> Held:
        """The rules whose sentences stand in a text."""
        found = f" {plain(text)} "
        return frozenset(number for number, rule in enumerate(self._plain) if f" {rule} " in found)

    def taught_rules(self, row: Row) -> list[int]:
        """The rules that a row teaches whoever sees it with its right answer."""
        return [rule for rule in row.needs if self.uniform("teaches", row.number, rule) < self.spec.teaches]

    def shown_rows(self, text: str) -> list[tuple[Row, str]]:
        """The rows of a text, each with what stands behind it up to the next row."""
        marks = list(ROW.finditer(text))
        ends = [*(mark.start() for mark in marks[1:]), len(text)]
        return [
            (self.row(int(mark[1])), text[mark.end() : end]) for mark, end in zip(marks, ends, strict=False)
        ]  # no mark, but an end, where there is no row

    def _held_rules(self, prompt: str) -> Held:
        """The rules that a prompt holds: those that it states, and those that its demos teach.

        A demo is a row whose own label is the first label behind it.
        """
        found = set(self.stated_rules(prompt))
        for row, behind in self.shown_rows(prompt):
            label = LABEL.search(behind)
            if label and label[0].lower() == row.label:
                found |= set(self.taught_rules(row))
        return frozenset(found)

    def question(self, text: str) -> Question | None:
        """What a request's text asks; None where it has no row."""
        marks = list(ROW.finditer(text))
        if not marks:
            return None
        row = self.row(int(marks[-1][1]))
        before, behind = text[: marks[-1].start()], text[marks[-1].start() :]
        return Question(before + behind.replace(row.text, "", 1), row)

    def missing(self, row: Row, held: Held) -> int | None:
        """The place, among the rules that a row needs, of the first that is not held; None where none is missing."""
        return next((place for place, rule in enumerate(row.needs) if rule not in held), None)

    def is_spoiled(self, row: Row, held: Held) -> bool:
        """Whether a clash spoils the row."""
        return any(held.issuperset(self.clashes[pair]) for pair in row.spoiled_by)

    def chance(self, row: Row, held: Held) -> float:
        """The chance that a row is answered right."""
        return GUESS if self.missing(row, held) is not None or self.is_spoiled(row, held) else 1 - SLIP

    def answer(self, question: Question, draw: int = 0) -> str:
        """The model's label. draw: the number of the sample, 0 for greedy decoding."""
        row, held = question.row, self.held_rules(question.prompt)
        drawn = self.uniform("answer", question.prompt, row.number, draw)
        return row.label if drawn < self.chance(row, held) else self.wrong_label(row, held)

    def wrong_label(self, row: Row, held: Held) -> str:
        """A wrong label is as far from the right one as its cause says, so that feedback can name the cause."""
        missing = self.missing(row, held)
        cause = missing + 1 if missing is not None else SPOILED if self.is_spoiled(row, held) else SLIPPED
        return LABELS[(LABELS.index(row.label) + cause) % len(LABELS)]

    def feedback(self, number: int, label: str) -> str:
        """What a metric says of a label: the right one, and at times the rule that was missing; never a clash."""
        row = self.row(number)
        if label == row.label:
            return f"{label} is right."
        wrong = f"The right label is {row.label}."
        if label not in LABELS:
            return wrong
        place = (LABELS.index(label) - LABELS.index(row.label)) % len(LABELS) - 1
        if place < len(row.needs) and self.uniform("names", number, place) < self.spec.names:
            return f"{wrong} {self.rules[row.needs[place]]}"
        return wrong

    def truth(self, prompts: Iterable[str]) -> float:
        """The accuracy of a prompt on the held-out rows, as expected by chance.

        prompts: its request's text for each of these rows.
        """
        asked = [self.question(text) for text in prompts]
        chances = [self.chance(one.row, self.held_rules(one.prompt)) for one in asked if one]
        return sum(chances) / len(self.held_out)

    def truth_of(self, held: Held) -> float:
        """The accuracy of a prompt that holds these rules."""
        return sum(self.chance(row, held) for row in self.held_out) / len(self.held_out)

    def best(self) -> float:
        """The accuracy of the best prompt there is: all rules but one or none of each clashing pair."""
        options = [(frozenset[int](), frozenset({one}), frozenset({other})) for one, other in self.clashes]
        every = frozenset(range(len(self.rules)))
        return max(self.truth_of(every.difference(*left_out)) for left_out in product(*options))


def plain(text: str) -> str:
    """The words of a text, case-folded. Line breaks and quotes may be escaped, as JSON has them."""
    return " ".join(WORD.findall(text.replace("\\n", " ").casefold()))


def pick(rng: random.Random, weights: Sequence[float], count: int) -> tuple[int, ...]:
    """Places drawn by weight, none twice."""
    left, picked = dict(enumerate(weights)), list[int]()
    for _ in range(count):
        picked.append(rng.choices(list(left), list(left.values()))[0])
        del left[picked[-1]]
    return tuple(picked)


def request_texts(world: RulesWorld, render: Callable[[str], str]) -> list[str]:
    """A prompt's request for each held-out row, by a function of the row's text."""
    return [render(row.text) for row in world.held_out]
