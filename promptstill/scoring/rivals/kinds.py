"""What kind of output a rival predicts: a label, a number, or anything else, which it can only copy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median_low
from typing import Any, Literal

from promptstill.files import canonical_json
from promptstill.prompt.fields import Field, closed_set

Kind = Literal["label", "number", "free"]
MOST_LABELS = 100  # different values of a text that is a label
ROWS_A_LABEL = 2  # a value stands on so many rows in the mean, or the values are no labels


def output_kind(field: Field, values: Sequence[Any]) -> Kind:
    """The kind of an output with these gold values.

    A label is a Literal, an enum or a bool, or a text with at most MOST_LABELS values, each on ROWS_A_LABEL rows in the
    mean. None counts as a value.
    """
    if closed_set(field.type) is not None:
        return "label"
    given = [value for value in values if value is not None]
    if given and all(isinstance(value, int | float) and not isinstance(value, bool) for value in given):
        return "number"
    different = {canonical_json(value) for value in values}
    texts = all(isinstance(value, str | bool) for value in given)
    repeating = len(different) <= min(MOST_LABELS, len(values) / ROWS_A_LABEL)
    return "label" if texts and repeating else "free"


def commonest(values: Sequence[Any]) -> Any:
    """The value that stands there most often; of several the one that comes first."""
    keys = [canonical_json(value) for value in values]
    return values[keys.index(Counter(keys).most_common(1)[0][0])]


def middle(values: Sequence[Any]) -> Any:
    """The median of numbers, the lower one of two, so that it is one of them; None where most values are None."""
    numbers = [value for value in values if value is not None]
    return median_low(numbers) if 2 * len(numbers) >= len(values) and numbers else None
