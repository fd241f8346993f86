"""Labels that are spelled in two ways: they differ in case, spaces or punctuation alone, and are likely one label.

A `Literal` has one spelling for each label, and other labels are refused; so this looks at outputs of free text.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from promptstill.prompt.fields import Field
from promptstill.task.examples import Example
from promptstill.text import plural

MAX_LABELS = 50  # more distinct outputs than this are texts, not labels
MAX_WARNINGS = 5


def spelling_warnings(examples: Sequence[Example], outputs: Sequence[Field]) -> list[str]:
    """A line for each label that has two spellings, the first few of them."""
    lines = [line for field in outputs if field.is_text for line in field_warnings(field.name, examples)]
    more = len(lines) - MAX_WARNINGS
    return lines[:MAX_WARNINGS] + ([f"and {plural(more, 'more label')} spelled in two ways"] if more > 0 else [])


def field_warnings(name: str, examples: Sequence[Example]) -> Iterator[str]:
    """The lines for one output; none where its values do not repeat, as labels do."""
    rows: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for example in examples:
        if name in example.outputs:  # not in a program's, whose rows have what its metric needs
            value = str(example.outputs[name])
            rows[plain_label(value)][value].append(example.location)
    if len(rows) > MAX_LABELS or 2 * len(rows) > len(examples):
        return
    for spellings in rows.values():
        first, *others = sorted(spellings, key=lambda value: -len(spellings[value]))
        for other in others:
            where = f"{plural(len(spellings[other]), 'row')}, the first is {spellings[other][0]}"
            yield f"{name}: {other!r} ({where}) is another spelling of {first!r}; one label should have one spelling"


def plain_label(text: str) -> str:
    """The label without case, spaces and punctuation; as it is where nothing else is in it, such as "+"."""
    return re.sub(r"[\W_]", "", text.casefold()) or text
