"""An endpoint for a program of three predictors: a word is cleaned, coded and told."""

from __future__ import annotations

import re

from tests.support.fake import Body


def triage(body: Body) -> str:
    """Each predictor's reply in DSPy's form; a code is right the more often, the more demos the prompt shows."""
    system, last = str(body["messages"][0]["content"]), str(body["messages"][-1]["content"])
    values = dict(re.findall(r"\[\[ ## (\w+) ## \]\]\n(.*?)\n", last))
    if "`told`" in system:
        return f"[[ ## told ## ]]\ntold {values['code']}\n\n[[ ## completed ## ]]"
    if "`code`" in system:
        word = values["plain"]
        right = sum(map(ord, word)) * 7 % 10 < min(3 + len(body["messages"]), 9)
        return f"[[ ## code ## ]]\n{('c0' if 'even' in word else 'c1') if right else 'c?'}\n\n[[ ## completed ## ]]"
    return f"[[ ## plain ## ]]\n{values['word'].lower()}\n\n[[ ## completed ## ]]"
