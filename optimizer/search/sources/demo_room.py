"""How many tokens of demos a prompt may show: by the model's context, by what a token costs, and by who reads it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from optimizer.search.space import FEW_DEMOS

MANY_DEMOS = 128
FIXED_TOKENS, NEAREST_TOKENS = 8_192, 4_096  # at most, whatever the context
SLOW_FIXED, SLOW_NEAREST = 1_536, 512  # of a vLLM on processors: nearest demos are read anew for each input
CALL_USD = 0.002  # that the demos of one call may cost


@dataclass(frozen=True)
class DemoRoom:
    """Tokens of fixed demos, and of nearest ones, which no prefix cache makes cheaper; `most` demos of either."""

    fixed: int
    nearest: int
    most: int = MANY_DEMOS


def demo_room(context: int, *, slow: bool, usd: float = 0.0, most_tokens: float = inf) -> DemoRoom:
    """The room in a context of so many tokens, of which demos take half at most.

    slow: whether processors read the prompts. usd: a million prompt tokens; where they are dear, demos of either kind
    have as many tokens as a slow reader's fixed ones. most_tokens: of a whole prompt, where the user says so.
    """
    half = int(min(context / 2, most_tokens))
    if slow:
        return DemoRoom(min(SLOW_FIXED, half), min(SLOW_NEAREST, half), FEW_DEMOS)
    paid = max(SLOW_FIXED, int(1e6 * CALL_USD / usd)) if usd else half
    return DemoRoom(min(FIXED_TOKENS, paid, half), min(NEAREST_TOKENS, paid, half))
