"""Why a reader should doubt a run: rows that stand in the prompt, replies that copy a demo, a dev score too good."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from optimizer.search.baseline import BASELINE, own_name
from optimizer.search.space import Space
from promptstill.power import settle_note
from promptstill.prompt.fields import as_text
from promptstill.prompt.prompt import Prompt
from promptstill.report.diff import prompt_text
from promptstill.report.row_view import arm_labels
from promptstill.scoring.rows import TestRow
from promptstill.scoring.test_report import bonferroni_note, cut_note, doubt_note
from promptstill.stats import Gain

LONG = 40  # characters from which a value that stands in the prompt is no coincidence
COPIED_WORDS = 8
FEW = 50  # test rows


def find_warnings(
    record: Mapping[str, Any],
    best: Mapping[str, Any] | None,
    space: Space | None,
    prompt: Prompt | None,
    rows: Sequence[TestRow],
) -> list[str]:
    """A sentence for each doubt that these facts raise."""
    found = [*stopped_warning(record), *refused_proposals(space)]
    if prompt and rows:
        folds = record.get("splits", {}).get("folds")  # whose prompt was searched on all rows, and is scored on none
        found += [
            *([] if folds else leak_warnings(prompt, rows)),
            *copied_instruction_warnings(prompt, rows),
            *copied_reply_warnings(prompt, rows),
        ]
    if best and best["scores"]["test"]:
        found += [
            *figure_warnings(best["scores"]["test"], best["scores"]["dev"]["winner"], own_name(record.get("baseline")))
        ]
    return found


def stopped_warning(record: Mapping[str, Any]) -> Iterator[str]:
    reached = record.get("search", {}).get("stopped")
    if reached:
        yield f"The search stopped early, by {reached}."


def refused_proposals(space: Space | None) -> Iterator[str]:
    """Proposals that were junk, by reason."""
    reasons = Counter(space.refused if space else ())
    if reasons:
        listed = ", ".join(f"{n} {reason}" for reason, n in reasons.most_common())
        yield f"Proposed instructions that were unusable: {listed}."


def leak_warnings(prompt: Prompt, rows: Sequence[TestRow]) -> Iterator[str]:
    """Test rows a long input of which stands word for word in the prompt, such as a passage shared with a demo."""
    text = all_text(prompt)
    by = Counter(
        name
        for row in rows
        for name, value in row.inputs.items()
        if len(as_text(value)) >= LONG and as_text(value).strip() in text
    )
    for name, n in by.items():
        yield (
            f"Leak: {name} of {n} of {len(rows)} test rows stands word for word in the winner's demos. "
            f'If rows that share it are not independent, set Recipe(group="{name}").'
        )


def copied_instruction_warnings(prompt: Prompt, rows: Sequence[TestRow]) -> Iterator[str]:
    """An instruction that quotes a test row."""
    found = prompt.instruction.lower().split()
    runs = {" ".join(found[i : i + COPIED_WORDS]) for i in range(len(found) - COPIED_WORDS + 1)}
    texts = [" ".join(as_text(v).lower().split()) for row in rows for v in row.inputs.values()]
    n = sum(any(run in text for run in runs) for text in texts)
    if n:
        yield f"Verbatim copy: the winner's instruction shares {COPIED_WORDS} words in a row with {n} inputs of test."


def copied_reply_warnings(prompt: Prompt, rows: Sequence[TestRow]) -> Iterator[str]:
    """Wrong replies that are a fixed demo's answer. Labels are no copies: only free text is looked at."""
    names = [field.name for field in prompt.outputs if field.is_text]
    if not names or prompt.nearest:
        return
    lines = {line.split(": ", 1)[-1].strip() for line in prompt_text(prompt).splitlines()} - {""}
    wrong = [row.answers["winner"] for row in rows if row.answers["winner"].score == 0]
    n = sum(answer.reply.strip() in lines for answer in wrong)
    if n:
        yield f"Verbatim copy: {n} wrong replies of the winner repeat a line of its demos."


def figure_warnings(test: Mapping[str, Any], dev: Mapping[str, Any], own: str | None) -> Iterator[str]:
    """What the figures themselves say."""
    winner, n = test["winner"], test["winner"]["score"]["n"]
    gain = Gain(**test["gains"]["over_baseline"])
    yield from filter(None, (doubt_note(gain, test["winners"]), settle_note(gain, test["winners"])))
    if test["winners"] > 1:
        yield bonferroni_note(test["gains"]["over_baseline"]["p"], test["winners"], over=own or BASELINE)
    if n < FEW:
        yield f"Test has {n} rows only: the intervals are wide."
    if winner["parse_failures"] > 0.05:
        yield f"{winner['parse_failures']:.0%} of the winner's replies did not parse, and scored zero."
    # A best.json of before this was recorded has no such share.
    if note := cut_note({label: test[arm].get("cut", 0.0) for arm, label in arm_labels(own).items() if arm in test}, n):
        yield note
    if winner["score"]["mean"] < dev["low"]:
        yield (
            f"The winner's dev score is {100 * test['dev_optimism']:.1f} points above its test score: "
            "it was chosen for luck on dev. Only the test score counts."
        )


def all_text(prompt: Prompt) -> str:
    """All text that the prompt may show, its pool included."""
    pool = [as_text(v) for row in (prompt.nearest.pool if prompt.nearest else []) for v in row.values()]
    return "\n".join([prompt_text(prompt), *pool])
