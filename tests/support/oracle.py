"""An endpoint that knows a recipe's rows: right with a probability that the request itself sets, so that runs repeat.

Whether a reply is right hangs on the hash of the messages, and on how many demos they show. Typed replies, labels and
DSPy's formats are written as a model would write them; a few replies are of no use, and proposals differ.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from tests.support.fake import Body

ADVICE = (
    "Look for the part of the input that decides, and name nothing else.",
    "First find out what kind of thing is wanted. Then give it in the shortest form that is complete.",
    "Be brief and literal. Never explain.",
    "Compare all possible outputs before you settle on one of them.",
    "Read everything twice; the last sentence often holds what matters.",
)
BASE, EACH, MOST = 0.15, 0.06, 10  # the chance without demos, what each of them adds, and how many of them count
JUNK = 0.03  # of replies that cannot be read


def share(*texts: str) -> float:
    """A number in [0, 1) that hangs on the texts alone."""
    return int(sha256("\x00".join(texts).encode()).hexdigest()[:8], 16) / 2**32


class Oracle:
    """Answers for the rows of one recipe; `key` is the input that tells them apart, `outputs` what is asked for."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], key: str, outputs: Sequence[str]) -> None:
        self.outputs = list(outputs)
        self.rows = {form: row for row in rows for form in {row[key], json.dumps(row[key])[1:-1]}}
        longest = sorted(self.rows, key=len, reverse=True)
        self.asked = re.compile("|".join(map(re.escape, longest)))

    def __call__(self, body: Body) -> str:
        text = "\n".join(str(message["content"]) for message in body["messages"])
        if "proposed_instruction" in text:
            return self.proposal(text)
        choice = (body.get("structured_outputs") or {}).get("choice")
        found = self.asked.findall(text)
        if not found:
            return str(choice[0]) if choice else "nothing"
        chance = BASE + EACH * min(len(found) - 1, MOST)
        drawn = share(text, str(body["temperature"]))
        if drawn > 1 - JUNK and not choice:
            return "?"
        values = {name: self.value(name, self.rows[found[-1]], chance, text, drawn) for name in self.outputs}
        if choice:
            return next(str(one) for one in choice if one.strip() == values[self.outputs[0]])
        return self.written(values, body, text)

    def proposal(self, text: str) -> str:
        return f"[[ ## proposed_instruction ## ]]\n{ADVICE[int(len(ADVICE) * share(text))]}"

    def value(self, name: str, row: Mapping[str, Any], chance: float, text: str, drawn: float) -> str:
        """The row's own value, or that of another row."""
        if share(name, str(drawn)) < chance:
            return str(row[name])
        others = list(self.rows.values())
        return str(others[int(len(others) * share(name, text))][name])

    def written(self, values: Mapping[str, str], body: Body, text: str) -> str:
        """The values in the form that the prompt asks for."""
        if "[[ ##" in text:
            return "".join(f"[[ ## {name} ## ]]\n{value}\n\n" for name, value in values.items())
        if body.get("response_format") or "JSON object" in text:
            return json.dumps({name: as_json(value) for name, value in values.items()}, ensure_ascii=False)
        if len(values) == 1:
            return next(iter(values.values()))
        lines = "\n".join(f"{name.capitalize()}: {value}" for name, value in values.items())
        begun = f"{self.outputs[0].capitalize()}:"
        return lines.removeprefix(begun) if text.endswith(begun) else lines


def as_json(value: str) -> Any:
    """Numbers and None as JSON has them."""
    try:
        return None if value == "None" else float(value)
    except ValueError:
        return value
