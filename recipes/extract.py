"""Read the fields of a bill from a mail, a receipt or a note."""

from datetime import date
from typing import Any, Literal

import dspy

from promptstill import Recipe, read_jsonl, recipe, token_f1

EXACT = ("issued", "due", "total", "currency")
vendor_f1 = token_f1("vendor")


class ReadBill(dspy.Signature):
    """Read the fields of the bill from the text."""

    text: str = dspy.InputField()
    vendor: str = dspy.OutputField(desc="who wants the money, as written")
    issued: date = dspy.OutputField(desc="date of the bill, YYYY-MM-DD")
    due: date | None = dspy.OutputField(desc="last day to pay, YYYY-MM-DD, or None where the text sets none")
    total: float = dspy.OutputField(desc="what is to be paid on this bill, taxes included, a number alone")
    currency: Literal["EUR", "GBP", "USD", "CHF", "SEK"] = dspy.OutputField()


def fields_right(example: Any, prediction: Any) -> float:
    """The mean over the fields: F1 of words for the vendor, right or wrong for the others."""
    right = [float(example[field] == prediction[field]) for field in EXACT]
    return (vendor_f1(example, prediction) + sum(right)) / (1 + len(EXACT))


@recipe
def extract(data: str = "data/invoices.jsonl", model: str = "smollm2-135m") -> Recipe:
    return Recipe(signature=ReadBill, examples=read_jsonl(data), metric=fields_right, model=model)
