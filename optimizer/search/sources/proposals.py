"""Instructions that a model proposed: the usable ones, and why the others are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dspy.utils.exceptions import AdapterParseError

from promptstill.prompt.nearest import near_duplicate, words
from promptstill.task.examples import Example
from promptstill.text import plural

LONGEST = 1_500  # characters; beyond it an instruction is rambling
COPIED_WORDS = 10  # a run of so many words of a row is a copy of the row


def filter_proposals(
    answers: Sequence[str | Exception], known: Sequence[str], train: Sequence[Example]
) -> tuple[list[str], list[str]]:
    """New, usable instructions, and the reasons for refusing the rest."""
    kept: list[str] = []
    refused: list[str] = []
    for answer in answers:
        problem = refusal_reason(answer, [*known, *kept], train)
        if problem or isinstance(answer, Exception):
            refused.append(problem)
        else:
            kept.append(answer.strip())
    return kept, refused


def proposals_line(refused: Sequence[str], kept: int) -> str:
    """What became of the proposals, for the terminal; empty where none was asked for."""
    if not refused:
        return f", {kept} of them proposed" if kept else ""
    why = ", ".join(f"{n} {reason}" for reason, n in Counter(refused).most_common())
    said = f"{plural(len(refused), 'proposal')} by the model {'was' if len(refused) == 1 else 'were'} unusable ({why})"
    return f"; {said}" + ("" if kept else "; only the recipe's own wording is searched")


def refusal_reason(answer: str | Exception, known: Sequence[str], rows: Sequence[Example]) -> str:
    """Why a proposal is useless, or an empty string."""
    if isinstance(answer, Exception):
        unread = isinstance(answer, AdapterParseError)
        return "not in the asked form" if unread else f"lost: the proposer failed ({type(answer).__name__})"
    if len(words(answer)) < 3:
        return "empty"
    if len(answer) > LONGEST:
        return f"longer than {LONGEST} characters"
    if "[[ ##" in answer or answer.strip()[0] in "{[":  # what a small model makes of DSPy's formats
        return "markup instead of a sentence"
    if any(near_duplicate(words(answer), words(other)) for other in known):
        return "said what another says"
    text = f" {' '.join(words(answer))} "
    copied = any(run in text for row in rows for value in row.inputs.values() for run in runs(str(value)))
    return "copied a row" if copied else ""


def runs(text: str) -> list[str]:
    """All runs of ten words."""
    found = words(text)
    return [f" {' '.join(found[i : i + COPIED_WORDS])} " for i in range(len(found) - COPIED_WORDS + 1)]
