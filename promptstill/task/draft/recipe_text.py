"""The text of a recipe for a proposed task: a person can read it, change it, and run it as it stands."""

from __future__ import annotations

import json
import re
import textwrap

from promptstill.task.draft.columns import Column
from promptstill.task.draft.proposal import Proposal
from promptstill.text import one_of

MAX_NAMED_LABELS = 8  # in the instruction
WIDTH = 110  # columns of a comment
TYPES = {"flag": "bool", "integer": "int", "number": "float", "date": "date"}

TEXT = '''"""{instruction}"""

{imports}import dspy

from promptstill import {names}

# What optimize --new found in the rows; change below what does not fit.
{findings}


# The task: what comes in and what goes out. Its docstring is the first instruction; optimize looks for a better one.
class Task(dspy.Signature):
    """{instruction}"""

{fields}
{own_metric}

@recipe
def {name}(data: str = {data}, model: str = "smollm2-135m") -> Recipe:
    return Recipe(
        signature=Task,
        examples={reader}(data{rename}),
        metric={metric},
        model=model,
{group}    )
'''
OWN_METRIC = """

# 1.0 where the value is the same. exact_match drops case, punctuation and articles, by which some of them differ.
def is_right(example, prediction) -> float:
    return float(example.{field} == prediction.{field})
"""


def recipe_text(proposal: Proposal, name: str, data: str, findings: list[str]) -> str:
    """The recipe: a function `name` that reads the rows from `data`, a path relative to the recipe."""
    rename = f", rename={quote_names(proposal.rename)}" if proposal.rename else ""
    reader = "read_jsonl" if data.casefold().endswith(".jsonl") else "read_csv"
    own, metric = metric_of(proposal)
    return TEXT.format(
        instruction=instruction(proposal),
        imports=imports(proposal),
        names=", ".join(sorted(["Recipe", "recipe", reader, *([] if own else [metric.partition("(")[0]])])),
        findings="\n".join(comment(line) for line in findings[1:]),
        fields="\n".join(fields(proposal)),
        own_metric=own,
        name=name,
        data=quote(data),
        reader=reader,
        rename=rename,
        metric=metric,
        group=f"        group={quote(proposal.group.field)},\n" if proposal.group else "",
    )


def quote(text: str) -> str:
    """The text as Python writes it, in double quotes."""
    return json.dumps(text, ensure_ascii=False)


def quote_names(names: dict[str, str]) -> str:
    """A dictionary of names as Python writes it."""
    return "{" + ", ".join(f"{quote(name)}: {quote(field)}" for name, field in names.items()) + "}"


def comment(text: str) -> str:
    """The text as a comment, on as many lines as it takes."""
    lines = textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False, subsequent_indent="    ")
    return "\n".join(f"# {line}" for line in lines)


def words(column: Column) -> str:
    """The name of its field as words."""
    return column.field.replace("_", " ").strip().lower()


def instruction(proposal: Proposal) -> str:
    """One sentence that states the task."""
    output = proposal.output
    *first, last = (f"the {words(column)}" for column in proposal.inputs)
    given = f"{', '.join(first)} and {last}" if first else last
    if output.labels:
        are_plain = len(output.labels) <= MAX_NAMED_LABELS and all(
            re.fullmatch(r"[\w .,&/+-]+", x) for x in output.labels
        )
        return f"Read {given} and give the {words(output)}{f': {one_of(output.labels)}' if are_plain else ''}."
    forms = {
        "flag": f"say whether it is true or false: {words(output)}",
        "integer": f"give the {words(output)} as a whole number",
        "number": f"give the {words(output)} as a number",
        "date": f"give the {words(output)} as YYYY-MM-DD",
    }
    return f"Read {given} and {forms.get(type_of_output(output), f'write the {words(output)}')}."


def type_of_output(output: Column) -> str:
    """The kind of an output, a day only where every one is in ISO form."""
    is_iso = all(re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) for text in output.counts)
    return output.kind if output.kind != "date" or is_iso else "text"


def imports(proposal: Proposal) -> str:
    """What the annotations need."""
    lines = []
    if type_of_output(proposal.output) == "date":
        lines.append("from datetime import date\n")
    if proposal.output.labels:
        lines.append("from typing import Literal\n")
    return "".join(lines) + ("\n" if lines else "")


def fields(proposal: Proposal) -> list[str]:
    """The fields of the signature, a line each; the labels on lines of their own where they are many."""
    lines = []
    for column in proposal.inputs:
        kind = "str" if column.kind == "date" else TYPES.get(column.kind, "str")
        optional = " | None" if None in column.values else ""
        lines.append(f"    {column.field}: {kind}{optional} = dspy.InputField()")
    return [*lines, f"    {proposal.output.field}: {output_type(proposal.output)} = dspy.OutputField()"]


def output_type(output: Column) -> str:
    """The annotation of the output."""
    if not output.labels:
        return TYPES.get(type_of_output(output), "str")
    labels = list(output.labels) if output.kind == "integer" else [quote(label) for label in output.labels]
    line = f"Literal[{', '.join(labels)}]"
    return line if len(line) <= 80 else "Literal[\n" + "".join(f"        {label},\n" for label in labels) + "    ]"


def metric_of(proposal: Proposal) -> tuple[str, str]:
    """The text of a metric of the recipe's own, if it needs one, and the expression that names the metric."""
    field = proposal.output.field
    if proposal.needs_own_metric:
        return OWN_METRIC.format(field=field), "is_right"
    return "", f"{'exact_match' if proposal.is_exact else 'token_f1'}({quote(field)})"
