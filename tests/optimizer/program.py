"""A program of three predictors, and an endpoint for it: a word is cleaned, coded and told."""

from __future__ import annotations

import re

from tests.support.fake import Body

PROGRAM = """
import dspy
from promptstill import Recipe, exact_match, recipe

class Triage(dspy.Module):
    def __init__(self):
        super().__init__()
        self.clean = dspy.Predict("word -> plain")
        self.code = dspy.Predict(dspy.Signature("plain -> code", "Say the code of the word."))
        self.tell = dspy.Predict("code -> told")

    def forward(self, word):
        return self.tell(code=self.code(plain=self.clean(word=word).plain).code)

@recipe
def triage(predictor: str = "code") -> Recipe:
    rows = [{"word": f"W{i} {'EVEN' if i % 2 == 0 else 'ODD'}", "told": f"told c{i % 2}"} for i in range(120)]
    return Recipe.from_program(
        Triage(), predictor=predictor, examples=rows, metric=exact_match("told"), model="fake", split=(40, 40, 40)
    )
"""


def triage(body: Body) -> str:
    """Each predictor's reply in DSPy's form; a code is right the more often, the more demos the prompt shows."""
    system, last = str(body["messages"][0]["content"]), str(body["messages"][-1]["content"])
    if "[[ ##" not in last:
        return "Hello!"  # to the request that finds out what an endpoint takes
    values = dict(re.findall(r"\[\[ ## (\w+) ## \]\]\n(.*?)\n", last))
    if "`told`" in system:
        return f"[[ ## told ## ]]\ntold {values['code']}\n\n[[ ## completed ## ]]"
    if "`code`" in system:
        word = values["plain"]
        right = sum(map(ord, word)) * 7 % 10 < min(3 + len(body["messages"]), 9)
        return f"[[ ## code ## ]]\n{('c0' if 'even' in word else 'c1') if right else 'c?'}\n\n[[ ## completed ## ]]"
    return f"[[ ## plain ## ]]\n{values['word'].lower()}\n\n[[ ## completed ## ]]"
