"""What went wrong on train rows, as a proposer reads it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from promptstill.prompt.fields import as_text
from promptstill.scoring.evaluate import ScoredRow

MOST_SHOWN, LEAST_SHOWN = 8, 4  # failures in one proposal's request
MOST_CHARACTERS = 2_000  # of one value
CONFUSIONS = 6  # pairs of labels that are named


def failures(results: Sequence[ScoredRow]) -> list[ScoredRow]:
    """The results below full score, the worst first."""
    return sorted((one for one in results if one.score < 1.0), key=lambda one: one.score)


def deal(found: Sequence[ScoredRow], hands: int) -> list[list[ScoredRow]]:
    """The failures dealt to so many proposals: none goes to two of them while there are enough for all."""
    dealt = []
    for hand in range(hands):
        own = list(found[hand::hands])[:MOST_SHOWN]
        others = [one for one in found if one not in own]
        start = hand * LEAST_SHOWN % max(len(others), 1)
        more = [*others[start:], *others[:start]][: max(0, LEAST_SHOWN - len(own))]
        dealt.append([*own, *more])
    return dealt


def to_record(failed: ScoredRow, better: ScoredRow | None) -> dict[str, str]:
    """A failure by parts. better: another prompt's result on the row, shown where its score is higher."""
    example = failed.example
    record = {f"Input: {name}": cut(as_text(value)) for name, value in example.inputs.items()}
    record["The assistant's response"] = cut(failed.reply.strip()) or "(nothing)"
    record |= {f"The right {name}": cut(as_text(value)) for name, value in example.outputs.items()}
    if remark := failed.reason or failed.feedback:
        record["Feedback"] = cut(remark)
    if better is not None and better.score > failed.score:
        record["What the assistant said with other instructions, which was better"] = cut(better.reply.strip())
    return record


def cut(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]} …"


def confusions(results: Sequence[ScoredRow], label: str) -> list[tuple[tuple[str, str], int]]:
    """How often one label was right and another given, the most frequent first: a confusion matrix's errors."""
    pairs = [(value_of(one.example.outputs, label), value_of(one.answered, label)) for one in results]
    wrong = Counter((right, given) for right, given in pairs if right and given and right != given)
    return sorted(wrong.items(), key=lambda one: (-one[1], one[0]))[:CONFUSIONS]


def value_of(outputs: Mapping[str, object], name: str) -> str:
    return as_text(outputs[name]) if name in outputs else ""


def is_among(failed: ScoredRow, label: str, pairs: Sequence[tuple[str, str]]) -> bool:
    """Whether a failure is one of these confusions."""
    return (value_of(failed.example.outputs, label), value_of(failed.answered, label)) in pairs
