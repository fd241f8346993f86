"""What a column of rows holds: labels, numbers, dates, codes or texts; and the field name that it can have.

It is found from all values, by rules: labels repeat and are few, a code has no space and is another in every row.
"""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel

from promptstill.prompt.fields import as_text
from promptstill.task.cells import THOUSANDS, iso_days

Kind = Literal["flag", "integer", "number", "date", "text", "mixed", "empty"]
MAX_LABELS = 50  # distinct values; more are texts
MAX_LABEL, MAX_LABEL_WORDS = 60, 5  # characters and words of one; a longer value is a text
MAX_CODE = 40
INTEGER = re.compile(r"-?(0|[1-9]\d{0,14})")
NUMBER = re.compile(INTEGER.pattern + r"(\.\d{1,12})?")
# Codes of things and of people. The whole name, or one of its words.
CODE_WORDS = {
    *("id", "ids", "uuid", "guid", "key", "nr", "no", "index", "idx", "row"),
    *("customer", "client", "user", "account", "author", "email", "phone"),
}
# Names that a DSPy signature, a prompt that reasons, a row or the recipe's imports have for themselves.
RESERVED = {
    *("instructions", "signature", "fields", "input_fields", "output_fields"),
    *("prepend", "append", "insert", "delete", "reasoning", "split", "date"),
}


@dataclass(frozen=True)
class Column:
    """A column's name in the data, the name of its field, and its values, None where a row has an empty one.

    absent: number of rows that lack the column.
    """

    name: str
    field: str
    values: tuple[Any, ...]
    absent: int = 0

    @cached_property
    def texts(self) -> list[str]:
        """The values that are there, as texts."""
        return [as_text(value).strip() for value in self.values if value is not None]

    @cached_property
    def counts(self) -> Counter[str]:
        return Counter(self.texts)

    @cached_property
    def kind(self) -> Kind:
        if not self.texts:
            return "empty"
        types = {type(value) for value in self.values if value is not None}
        if types & {list, dict} or (str in types and len(types) > 1):
            return "mixed"
        if all(text.casefold() in ("true", "false") for text in self.counts):
            return "flag"
        if all(INTEGER.fullmatch(text.replace(",", "")) and is_plain_number(text) for text in self.counts):
            return "integer"
        if all(NUMBER.fullmatch(text.replace(",", "")) and is_plain_number(text) for text in self.counts):
            return "number"
        return "date" if all(any(iso_days(text)) for text in self.counts) else "text"

    @property
    def repeats(self) -> bool:
        """Whether one row in ten has a value that a row before it has."""
        return 10 * (len(self.texts) - len(self.counts)) >= len(self.texts) > 0

    @property
    def is_distinct(self) -> bool:
        """Whether each row has a value of its own."""
        return len(self.counts) == len(self.values)

    @property
    def is_constant(self) -> bool:
        return len(self.counts) == 1 and len(self.values) > 1

    @property
    def is_code(self) -> bool:
        """Whether every value is short and without a space."""
        return all(len(text) <= MAX_CODE and not re.search(r"\s", text) for text in self.counts)

    @property
    def is_named_code(self) -> bool:
        return not CODE_WORDS.isdisjoint(name_words(self.name))

    @property
    def is_counter(self) -> bool:
        """Whether the values are integers that number the rows, with few gaps."""
        if self.kind != "integer" or not self.is_distinct:
            return False
        numbers = [int(text.replace(",", "")) for text in self.texts]
        return max(numbers) - min(numbers) < 2 * len(numbers)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The labels, the most frequent first, if the column has labels; one for all spellings that are read as one."""
        if self.kind not in ("text", "integer") or 2 * len(self.counts) > len(self.texts):
            return ()
        if not all(map(is_label, self.counts)):
            return ()
        first: dict[str, str] = {}
        for text, _ in sorted(self.counts.items(), key=lambda item: (-item[1], item[0])):
            first.setdefault(text.strip("\"'`").rstrip(".").strip().casefold(), text)
        is_numeric = self.kind == "integer" and any("," in text for text in self.counts)
        return () if is_numeric or not 2 <= len(first) <= MAX_LABELS else tuple(first.values())


def is_label(text: str) -> bool:
    """Whether a value may be a label, by its length."""
    return 0 < len(text) <= MAX_LABEL and len(text.split()) <= MAX_LABEL_WORDS and text.isprintable()


def is_plain_number(text: str) -> bool:
    """Whether the commas of a number, if any, stand between thousands."""
    return "," not in text or THOUSANDS.fullmatch(text) is not None


def find_columns(rows: Sequence[Mapping[str, Any]]) -> list[Column]:
    """The columns of the rows, in their order."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    fields: dict[str, str] = {}
    for name in names:
        fields[name] = field_name(name, {*names, *fields.values()} - {name})
    return [
        Column(name, field, tuple(row.get(name) for row in rows), sum(name not in row for row in rows))
        for name, field in fields.items()
    ]


def name_words(name: str) -> list[str]:
    """The words of a column's name: `customerId` and `Customer ID` are customer, id."""
    return re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).casefold())


def field_name(name: str, taken: Collection[str]) -> str:
    """The column's name as a field of a signature can have it: ASCII, no keyword, nothing that DSPy has for itself."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    made = name if name.isidentifier() and name.isascii() else "_".join(re.findall(r"[a-z0-9]+", ascii_name.casefold()))
    made = made.strip("_")[:60] or "column"
    made = f"column_{made}" if made[0].isdigit() else made
    if keyword.iskeyword(made) or hasattr(BaseModel, made) or made in RESERVED or made.startswith("model_"):
        made += "_"
    number = 2
    unique = made
    while unique in taken:
        unique, number = f"{made}_{number}", number + 1
    return unique
