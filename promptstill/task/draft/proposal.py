"""A task for rows, as `optimize --new FILE.py --from ROWS` proposes it: which columns come in, which one goes out.

Nobody is asked. Every choice is told with its reason, so that a reader can change it in the recipe.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from promptstill.errors import UserError
from promptstill.files import canonical_json
from promptstill.task.draft.columns import Column, name_words
from promptstill.task.recipe import SPLITS
from promptstill.text import one_of, plural

# What outputs are called, the likeliest first.
OUTPUT_NAMES = (
    *("label", "labels", "answer", "category", "class", "target", "output", "sentiment", "intent", "gold", "expected"),
    *("team", "topic", "rating", "score", "stars", "priority", "department", "queue", "tag", "response", "reply"),
    *("completion", "summary", "translation"),
)
SPLIT = "split"  # the column that names a row's split
MIN_GROUPS, MAX_GROUP_SHARE = 10, 0.2  # with fewer or larger groups a split may stay empty
CODE_REASON = "a code of its own in every row"


@dataclass(frozen=True)
class Omission:
    """A column that is no part of the task, and why."""

    column: Column
    reason: str


@dataclass(frozen=True)
class Proposal:
    """The proposed task. group: the column whose rows stay in one split. suspects: others that may be such groups."""

    rows: int
    inputs: tuple[Column, ...]
    output: Column
    omissions: tuple[Omission, ...]
    group: Column | None
    suspects: tuple[Column, ...]
    split: Column | None
    unlabelled: int
    duplicates: int
    conflicts: int

    @property
    def is_exact(self) -> bool:
        """Whether a prediction is right or wrong, and no shared words count."""
        return bool(self.output.labels) or self.output.kind != "text"

    @property
    def needs_own_metric(self) -> bool:
        """Whether `exact_match`, which drops case, punctuation and articles, would take two values for one."""
        output = self.output
        if output.kind in ("integer", "number") and not output.labels:
            return output.kind == "number" or any(text.startswith("-") for text in output.counts)
        plain = [plain_answer(text) for text in output.labels or output.counts]
        return self.is_exact and len(set(plain)) < len(plain)

    @property
    def rename(self) -> dict[str, str]:
        """Columns whose name no field can have, and the names that they get."""
        used = [*self.inputs, self.output, *([self.group] if self.group else [])]
        used += [] if self.split else [one.column for one in self.omissions if one.column.name == SPLIT]
        return {column.name: column.field for column in used if column.name != column.field}


def plain_answer(text: str) -> str:
    """The text as the metrics compare it."""
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", re.sub(r"[!-/:-@\[-`{-~]", "", text.casefold())).split())


def propose(columns: Sequence[Column], source: str) -> Proposal:
    """The task of these columns. Raises `UserError` where no column is left for an input or an output."""
    split = next((one for one in columns if one.name == SPLIT and set(one.values) == set(SPLITS)), None)
    usable = [one for one in columns if one is not split]
    output = find_output(usable)
    if output is None or len(usable) < 2:
        names = ", ".join(column.name for column in columns)
        raise UserError(
            f"{source} has {plural(len(columns), 'column')}, {names}: too few for a task.",
            "A task has an input and an output, and each needs a column with values.",
            "Add the column that is to be found, such as label.",
        )
    reasons = {id(one): reason_to_omit(one) for one in usable if one is not output}
    inputs = [one for one in usable if reasons.get(id(one)) == ""] or last_resort(usable, output, source)
    omissions = tuple(Omission(one, reasons[id(one)]) for one in usable if one is not output and one not in inputs)
    groups = find_groups(inputs, omissions)
    group = next((one for one in groups if is_safe_group(one, inputs)), None)
    duplicates, conflicts = count_repeated(inputs, output)
    return Proposal(
        rows=len(output.values),
        inputs=tuple(inputs),
        output=output,
        omissions=omissions,
        group=group,
        suspects=tuple(one for one in groups if one is not group),
        split=split,
        unlabelled=output.values.count(None),
        duplicates=duplicates,
        conflicts=conflicts,
    )


def find_output(columns: Sequence[Column]) -> Column | None:
    """The column that is called as outputs are, else the one with the fewest labels, else the last with values."""
    able = [one for one in columns if one.kind not in ("empty", "mixed") and not one.is_named_code]
    by_name = [{" ".join(name_words(one.name)): one for one in able if not one.is_constant}]
    by_name.append({name.split()[-1]: one for name, one in by_name[0].items() if name})
    for names in by_name:
        if named := next((names[wanted] for wanted in OUTPUT_NAMES if wanted in names), None):
            return named
    if labelled := [one for one in able if one.labels]:
        return min(reversed(labelled), key=lambda one: len(one.labels))
    return next((one for one in reversed(able) if not reason_to_omit(one)), None)


def reason_to_omit(column: Column) -> str:
    """Why the column is no input; empty where it may be one."""
    reasons = {
        "empty": column.kind == "empty",
        "values of several types, lists or objects": column.kind == "mixed",
        f"{plural(column.absent, 'row')} without it": column.absent > 0,
        "the same value in every row": column.is_constant,
        "dates": column.kind == "date",
        "it counts the rows": column.is_counter,
    }
    return next((reason for reason, holds in reasons.items() if holds), code_reason(column) or answer_reason(column))


def code_reason(column: Column) -> str:
    """Why the column is one of codes, which say nothing about the text beside them; empty where it is not."""
    if column.kind not in ("text", "integer") or not column.is_code:
        return ""
    if column.is_distinct and (column.is_named_code or all(re.search(r"\d", text) for text in column.counts)):
        return CODE_REASON if column.is_named_code or column.kind == "text" else ""
    if column.is_named_code or (column.kind == "text" and column.repeats and not column.labels):
        return "codes"
    return ""


def answer_reason(column: Column) -> str:
    """Why the column may be another answer, which is not known when the task is asked; empty where it is not."""
    is_named = bool(set(name_words(column.name)[-1:]) & set(OUTPUT_NAMES))
    return "likely another answer, not known beforehand" if is_named else ""


def last_resort(columns: Sequence[Column], output: Column, source: str) -> list[Column]:
    """The one column that is taken for an input where there are reasons against all. Raises `UserError`."""
    able = [one for one in columns if one is not output and one.kind not in ("empty", "mixed") and not one.absent]
    able = [one for one in able if not one.is_constant]
    if not able:
        names = ", ".join(column.name for column in columns)
        raise UserError(
            f"{source} has no column for an input: of {names}, {output.name} is the output.",
            "The others are empty, the same in every row, or not in all rows.",
            "Add the text that the output is found from.",
        )
    return [max(able, key=lambda one: (one.kind == "text", len(one.counts)))]


def find_groups(inputs: Sequence[Column], omissions: Sequence[Omission]) -> list[Column]:
    """Columns whose repeated values say that rows belong together: codes of a customer, passages with several rows."""
    codes = [one.column for one in omissions if one.reason == "codes" and one.column.repeats]
    texts = [one for one in inputs if one.kind == "text" and one.repeats and not one.labels]
    return [*codes, *(texts if len(inputs) > 1 else [])]


def is_safe_group(column: Column, inputs: Sequence[Column]) -> bool:
    """Whether the groups are small and many enough to be divided into splits, and no two have the same inputs."""
    group_of: dict[str, Any] = {}
    for key, group in zip(input_keys(inputs), column.values, strict=True):
        if group_of.setdefault(key, group) != group:
            return False
    return len(column.counts) >= MIN_GROUPS and max(column.counts.values()) <= MAX_GROUP_SHARE * len(column.values)


def input_keys(inputs: Sequence[Column]) -> list[str]:
    """The inputs of each row, as one text."""
    return [canonical_json(values) for values in zip(*(column.values for column in inputs), strict=True)]


def count_repeated(inputs: Sequence[Column], output: Column) -> tuple[int, int]:
    """The rows that equal an earlier one, and the inputs that have two outputs or more."""
    outputs: dict[str, list[str]] = defaultdict(list)
    for key, value in zip(input_keys(inputs), output.values, strict=True):
        outputs[key].append(canonical_json(value))
    duplicates = sum(len(values) - len(set(values)) for values in outputs.values())
    conflicts = sum(len(set(values) - {"null"}) > 1 for values in outputs.values())
    return duplicates, conflicts


def describe_proposal(proposal: Proposal, source: str) -> Iterator[str]:
    """What was found, a line each."""
    output = proposal.output
    yield f"{source}: {plural(proposal.rows, 'row')}"
    yield f"in: {', '.join(f'{one.name} ({describe_kind(one)})' for one in proposal.inputs)}"
    yield f"out: {output.name} ({describe_kind(output)})"
    if others := [text for text in output.counts if output.labels and text not in output.labels]:
        yield f"read as another spelling of a label: {', '.join(map(repr, others[:5]))}"
    yield f"metric: {metric_name(proposal)}"
    if proposal.omissions:
        yield f"left out: {', '.join(f'{one.column.name} ({one.reason})' for one in proposal.omissions)}"
    if proposal.group:
        yield f"group: rows with the same {proposal.group.name} stay in one split"
    if proposal.suspects:
        yield f"perhaps a group too: {', '.join(one.name for one in proposal.suspects)}"
    if proposal.split:
        yield "the rows name their own split"
    if proposal.unlabelled:
        yield f"{plural(proposal.unlabelled, 'row')} without {output.name}, for distillation"
    if proposal.duplicates:
        yield f"{plural(proposal.duplicates, 'row')} equal to another"
    if proposal.conflicts:
        yield f"the same input with different {output.name}: {plural(proposal.conflicts, 'time')}"


def metric_name(proposal: Proposal) -> str:
    """The metric, and why it is not the ready-made one."""
    if proposal.needs_own_metric:
        return "the same value or not (exact_match would take some of them for one)"
    return "exact_match" if proposal.is_exact else "token_f1"


def describe_kind(column: Column) -> str:
    """The kind of its values, in words."""
    if column.labels:
        named = one_of(column.labels[:6]) if len(column.labels) <= 6 else ", ".join((*column.labels[:5], "…"))
        return f"{len(column.labels)} labels: {named}"
    words = {"flag": "true or false", "integer": "whole numbers", "number": "numbers", "date": "dates"}
    return words.get(column.kind, "text")
