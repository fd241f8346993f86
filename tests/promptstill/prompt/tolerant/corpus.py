"""Replies as models write them: the type of the one output `label`, the reply, and the value; None: it has none."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

from pydantic import BaseModel


class Person(BaseModel):
    name: str
    friend: Person | None = None


MOOD = Literal["positive", "negative", "mixed"]
DESK = Literal["billing", "billing dispute", "Account access", "other"]
LETTER = Literal["A", "B", "C"]
SAID = Literal["yes", "no", "n/a"]
TWIN = Literal["May", "may", "June"]
STATE = Literal["正面", "负面"]
NOTHING = type(None)  # for the value None
ANNA = {"name": "Anna", "friend": None}

CASES: list[tuple[Any, str, Any]] = [
    # Labels of one word.
    (MOOD, "```\npositive\n```", "positive"),
    (MOOD, "```json\n\"positive\"\n```", "positive"),
    (MOOD, "```json\n{\"label\": \"positive\"}\n```", "positive"),
    (MOOD, "{\n  \"label\": \"Positive\"\n}", "positive"),
    (MOOD, "Sure! Here it is:\n\n```json\n{\n  \"Label\": \"positive\"\n}\n```\nThe text is glad.", "positive"),
    (MOOD, "**Label:** positive", "positive"),
    (MOOD, "**Label**: positive", "positive"),
    (MOOD, "**Label: positive**", "positive"),
    (MOOD, "**Label:** **positive**", "positive"),
    (MOOD, "- label: positive", "positive"),
    (MOOD, "* **Label:** positive.", "positive"),
    (MOOD, "1. LABEL: Positive", "positive"),
    (MOOD, "> label: positive", "positive"),
    (MOOD, "## Label\n\npositive", "positive"),
    (MOOD, "**Label**\npositive", "positive"),
    (MOOD, "Label - positive", "positive"),
    (MOOD, "Label — positive", "positive"),
    (MOOD, "Label：positive", "positive"),
    (MOOD, "```yaml\nlabel: positive\n```", "positive"),
    (MOOD, "[[ ## Label ## ]]\npositive.\n\n[[ ## completed ## ]]", "positive"),
    (MOOD, "The label is positive.", "positive"),
    (MOOD, "So the correct label is: **positive**.", "positive"),
    (MOOD, "The text praises the food. Therefore, the label is 'positive'.", "positive"),
    (MOOD, "Answer: positive", "positive"),
    (MOOD, "**Final answer:** positive", "positive"),
    (MOOD, "My answer is “positive”.", "positive"),
    (MOOD, "\"positive\".", "positive"),
    (MOOD, "“positive”", "positive"),
    (MOOD, "`positive`.", "positive"),
    (MOOD, "'Positive.'", "positive"),
    (MOOD, "**positive**", "positive"),
    (MOOD, "positive\n\nThe text praises the food.", "positive"),
    (MOOD, "The text praises the food.\n\nPositive", "positive"),
    (MOOD, "It praises much.\nLabel: positive\nIt is not negative.", "positive"),
    (MOOD, "Label: positive or negative?\nLabel: positive", "positive"),
    (MOOD, "it is positive, not negative", None),
    (MOOD, "positive or negative", None),
    (MOOD, "Label: positive\nLabel: negative", None),
    (MOOD, "positive\nText: bad food\nLabel: negative", None),
    (MOOD, "{\"label\": \"positive\", \"Label\": \"negative\"}", None),
    (MOOD, "{\"label\": \"positive\", \"label\": \"negative\"}", None),
    (MOOD, "Label: positive\n{\"label\": \"negative\"}", None),
    (MOOD, "The label is positive. It is not negative.", None),
    (MOOD, "The label is not positive.", None),
    (MOOD, "I would not call it positive.", None),
    (MOOD, "The label is positive, not negative.", None),
    (MOOD, "positive\n\nThough it looks negative at first.", None),
    (MOOD, "```\npositive\n```\n```\nnegative\n```", None),
    (MOOD, "- positive\n- negative", None),
    (MOOD, "sad", None),
    # Labels that contain one another, with spaces, in other case, of one letter, in Chinese.
    (DESK, "**Label:** billing", "billing"),
    (DESK, "The label is billing dispute.", "billing dispute"),
    (DESK, "Label: \"Billing Dispute\"", "billing dispute"),
    (DESK, "`account access`", "Account access"),
    (DESK, "billing dispute\n\nThe customer wants the money back.", "billing dispute"),
    (DESK, "billing dispute\n\nIt is about billing.", None),
    (DESK, "The label is billing or billing dispute.", None),
    (DESK, "billing / other", None),
    (DESK, "billing\ndispute", None),
    (LETTER, "The answer is B.", "B"),
    (LETTER, "**Answer:** b", "B"),
    (LETTER, "B\n\nBecause be it said that all carps bite.", "B"),
    (LETTER, "The answer is B, not C.", None),
    (LETTER, "Both A and B fit.\nThe answer is B.", None),
    (SAID, "The answer is no.", "no"),
    (SAID, "Answer: \"n/a\"", "n/a"),
    (SAID, "no\n\nI know nothing of it.", "no"),
    (SAID, "no\n\nOr yes?", None),
    (TWIN, "**Label:** May", "May"),
    (TWIN, "**Label:** may.", "may"),
    (TWIN, "**Label:** MAY", None),
    (STATE, "标签\n正面", "正面"),
    (STATE, "**Label**：「负面」。", "负面"),
    (STATE, "正面\n不是负面的", None),
    # Truth values and numbers.
    (bool, "The answer is true.", True),
    (bool, "**Label:** False", False),
    (bool, "```json\n{\"label\": true}\n```", True),
    (bool, "True\n\nIt cannot be false.", None),
    (int, "**Label:** 42", 42),
    (int, "The label is 1,250.", 1250),
    (int, "\"42\"", 42),
    (int, "- label: `42`.", 42),
    (int, "{\"label\": 42}", 42),
    (int, "42\n\nThere is one number here.", 42),
    (int, "Answer: 42\n6 times 7 is 42", 42),
    (int, "42\n\n6 times 7 is 42.", None),
    (int, "Label: 4 or 5", None),
    (int, "about 42", None),
    (int, "100000000000000001\n\nThat is all.", 100000000000000001),
    (float, "3\n\nThat is all.", 3.0),
    (Literal[1, 2, 3], "The label is 2.", 2),
    (Literal[1, 2, 3], "2\n\nnot 3", None),
    (float, "**Label**: 3.5.", 3.5),
    (float, "The label is 3.5. No other fits.", 3.5),
    (float, "Label - -0.25", -0.25),
    (float, "between 0.1 and 0.2", None),
    # Days.
    (date, "**Label:** 2026-04-17", "2026-04-17"),
    (date, "The label is “2026-04-17”.", "2026-04-17"),
    (date, "```\n2026-04-17\n```", "2026-04-17"),
    (date, "2026-04-17\n\nor else 2026-04-18", None),
    (date, "**Label:** 17 April 2026", None),
    # Lists, objects, optional values.
    (list[str], "```json\n[\"a\", \"b\"]\n```", ["a", "b"]),
    (list[str], "[\n  \"a\",\n  \"b\"\n].", ["a", "b"]),
    (list[str], "Here are the labels:\n[\n  \"a\"\n]", ["a"]),
    (list[str], "**Label:**\n```json\n[\n  \"a\"\n]\n```\nThat is all.", ["a"]),
    (list[str], "{\n  \"label\": [\n    \"a\"\n  ]\n}", ["a"]),
    (list[str], "Label: [\"a\"]\n\nIt was [\"b\"] before.", ["a"]),
    (list[str], "Either [\"a\"] or [\"b\"]", None),
    (list[str], "[\"a\", \"b", None),
    (list[str], "a, b", None),
    (Person, "```json\n{\"name\": \"Anna\", \"friend\": null}\n```", ANNA),
    (Person, "Here you are:\n{\n  \"name\": \"Anna\",\n  \"friend\": null\n}\nAnything else?", ANNA),
    (Person, "{\"label\": {\"name\": \"Anna\", \"friend\": null}}", ANNA),
    (Person, "**Label:** {\"name\": \"Anna\", \"friend\": null}", ANNA),
    (Person, "{\"name\": \"Bo\", \"friend\": {\"name\": \"Anna\", \"friend\": null}, \"ag", None),
    (Person, "{\"name\": 3}", None),
    (int | None, "**Label:** none", NOTHING),
    (int | None, "```\nnull\n```", NOTHING),
    (int | None, "The label is 7.", 7),
    (int | None, "7\n\nor none", None),
    (MOOD | None, "The answer is mixed.", "mixed"),
    (MOOD | None, "`N/A`", NOTHING),
]  # fmt: skip
