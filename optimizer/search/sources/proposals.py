"""Instructions that a model proposed: the usable ones, and why the others are not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from dspy.utils.exceptions import AdapterParseError

from promptstill.prompt.nearest import near_duplicate, words
from promptstill.task.examples import Example
from promptstill.text import plural

LONGEST = 6_000  # characters, as many as a proposal's reply holds; beyond it an instruction is rambling
COPIED_WORDS = 10  # a run of so many words of a row is a copy of the row
FEWEST_WORDS = 5  # of an input that is a copy where it stands whole; what is shorter any text may hold
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？।])|\n+")
Reply = str | Exception  # a proposal, or the failure in its place
REPEATED = "said what another says"


class CutReply(Exception):
    """A proposal that reached the limit of its reply."""


def filter_proposals(
    answers: Sequence[Reply],
    known: Sequence[str],
    train: Sequence[Example],
    markers: Sequence[str] = (),
    judging: Sequence[Example] = (),
) -> tuple[list[str], list[str]]:
    """New, usable instructions, and the reasons for refusing the rest. markers: the model's. judging: the rows that
    will choose between them, of which none may hold one: no proposer is shown them, but it may know public ones."""
    kept: list[str] = []
    refused: list[str] = []
    for answer in answers:
        problem = refusal_reason(answer, train, markers, judging, known)
        if not problem and says_what_another_says(str(answer), [*known, *kept]):
            problem = REPEATED
        if problem or isinstance(answer, Exception):
            refused.append(problem)
        else:
            kept.append(answer.strip())
    return kept, refused


def filter_children(
    children: Sequence[Reply],
    before: Sequence[str],
    known: Sequence[str],
    train: Sequence[Example],
    markers: Sequence[str],
    judging: Sequence[Example] = (),
) -> tuple[dict[int, str], list[str]]:
    """The usable ones of proposals that go back to an instruction each, by their place, and the reasons for refusing
    the rest. before: what each begins with that is the user's own. One sentence more or less than a known instruction
    has makes a child a new one."""
    kept: dict[int, str] = {}
    refused: list[str] = []
    for place, child in enumerate(children):
        own = child.removeprefix(before[place]) if isinstance(child, str) else child
        problem = refusal_reason(own, train, markers, judging, known)
        if not problem and any(same_sentences(str(child), other) for other in (*known, *kept.values())):
            problem = REPEATED
        if problem or isinstance(child, Exception):
            refused.append(problem)
        else:
            kept[place] = child.strip()
    return kept, refused


def proposals_line(refused: Sequence[str], kept: int, *, any_yet: bool) -> str:
    """What became of the proposals, for the terminal; empty where none was asked for. any_yet: whether an earlier round
    has kept some."""
    if not refused:
        return f", {kept} of them proposed" if kept else ""
    why = ", ".join(f"{n} {reason}" for reason, n in Counter(refused).most_common())
    said = f"{plural(len(refused), 'proposal')} by the model {'was' if len(refused) == 1 else 'were'} unusable ({why})"
    return f"; {said}" + ("" if kept or any_yet else "; only the recipe's own wording is searched")


def refusal_reason(
    answer: Reply,
    rows: Sequence[Example],
    markers: Sequence[str] = (),
    judging: Sequence[Example] = (),
    known: Sequence[str] = (),
) -> str:
    """Why a proposal is of no use, or an empty string. known: instructions whose words it may repeat."""
    if isinstance(answer, Exception):
        return failure_reason(answer)
    if len(words(answer)) < 3:
        return "empty"
    if len(answer) > LONGEST:
        return f"longer than {LONGEST} characters"
    if "[[ ##" in answer or answer.strip()[0] in "{[":  # what a small model makes of DSPy's formats
        return "markup instead of a sentence"
    if any(marker in answer for marker in markers):
        return "held a chat marker"
    return copy_reason(answer, rows, judging, known)


def copy_reason(answer: str, rows: Sequence[Example], judging: Sequence[Example], known: Sequence[str]) -> str:
    """Of which rows a proposal holds a copy, or an empty string. A short input is a row only where train has none like
    it: options, say, may be the same in all."""
    text, said = flat(answer), [flat(one) for one in known]
    shown = {flat(str(value)) for row in rows for value in row.inputs.values()}
    told = [str(value) for row in judging for value in row.inputs.values()]
    held = (run for value in told if flat(value) not in shown for run in runs(value, FEWEST_WORDS))
    if any(run in text and not any(run in one for one in said) for run in held):
        return "held a row of dev"
    copied = (run for row in rows for value in row.inputs.values() for run in runs(str(value)))
    return "copied a row" if any(run in text and not any(run in one for one in said) for run in copied) else ""


def flat(text: str) -> str:
    """The words of a text, in which a run of words can be found."""
    return f" {' '.join(words(text))} "


def failure_reason(error: Exception) -> str:
    """What took the place of a proposal."""
    if isinstance(error, CutReply):
        return "cut at the reply limit"
    unread = isinstance(error, AdapterParseError)
    return "not in the asked form" if unread else f"lost: the proposer failed ({type(error).__name__})"


def says_what_another_says(answer: str, known: Sequence[str]) -> bool:
    """Whether nearly all words of a proposal are those of a known instruction."""
    return any(near_duplicate(words(answer), words(other)) for other in known)


def same_sentences(child: str, other: str) -> bool:
    """Whether each sentence of either has nearly the words of one in the other."""
    mine, theirs = sentences(child), sentences(other)
    return all(
        any(near_duplicate(one, two) for two in those)
        for these, those in ((mine, theirs), (theirs, mine))
        for one in these
    )


def merge(instructions: Sequence[str]) -> str:
    """The first instruction, and behind it each sentence of the others that is new."""
    merged = instructions[0]
    for part in (part for other in instructions[1:] for part in SENTENCE_END.split(other)):
        if words(part) and not any(near_duplicate(words(part), known) for known in sentences(merged)):
            merged = f"{merged}\n{part.strip()}"
    return merged


def sentences(text: str) -> list[list[str]]:
    """The words of each sentence and each line."""
    return [found for part in SENTENCE_END.split(text) if (found := words(part))]


def runs(text: str, fewest: int = COPIED_WORDS) -> list[str]:
    """All runs of ten words; of a shorter text with at least `fewest`, all of it."""
    found = words(text)
    length = max(fewest, min(COPIED_WORDS, len(found)))
    return [f" {' '.join(found[i : i + length])} " for i in range(len(found) - length + 1)]
