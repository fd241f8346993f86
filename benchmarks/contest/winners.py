"""Winners as they are committed: texts and parameters whole, rows by their number.

Rows are not all ours to give, and a winner may show each row of train. So the text of a train row is replaced by where
it stands, `{train 17 text}`; the deal of the rows, which a cell's key names by its digest, gives it back.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from promptstill.task.examples import Example

SHORTEST = 12  # characters of an input that is replaced: a shorter one may stand in any text


def without_rows(program: dict[str, Any], train: Sequence[Example]) -> dict[str, Any]:
    """The program with each text of a train row replaced, and a list of whole train rows as their numbers."""
    texts = {}
    for number, row in enumerate(train):
        for name, value in row.inputs.items():
            if isinstance(value, str) and len(value) >= SHORTEST:
                texts[value] = texts[json.dumps(value)[1:-1]] = f"{{train {number} {name}}}"
    longest_first = dict(sorted(texts.items(), key=lambda item: -len(item[0])))
    numbers = {canonical({**row.inputs, **row.outputs}): number for number, row in enumerate(train)}
    return dict(shorten(program, longest_first, numbers))


def shorten(value: Any, texts: dict[str, str], numbers: dict[str, int]) -> Any:
    """A part of a program, with its rows replaced."""
    if isinstance(value, str):
        for text, place in texts.items():
            value = value.replace(text, place)
        return value
    if isinstance(value, dict):
        return {key: shorten(part, texts, numbers) for key, part in value.items()}
    if isinstance(value, list):
        rows = [numbers.get(canonical(part)) for part in value]
        if rows and None not in rows:
            return {"train rows": rows}
        return [shorten(part, texts, numbers) for part in value]
    return value


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
