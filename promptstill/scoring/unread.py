"""A pattern or path that finds nothing in any reply is a mistake, not a score: it is named while little is spent."""

from __future__ import annotations

from collections.abc import Sequence

from promptstill.errors import UserError
from promptstill.prompt.prompt import Prompt
from promptstill.scoring.evaluate import ScoredRow
from promptstill.text import plural

FIRST_ROWS = 20  # whose replies tell
SHOWN = 300  # characters of a reply


def refuse_unread(prompt: Prompt, results: Sequence[ScoredRow]) -> None:
    """Raises `UserError` where a prompt's pattern or path finds nothing in any of the replies. A reply in which it
    finds a text of the wrong type counts as read: that is the model's mistake."""
    replies = [result.reply for result in results if result.reply]
    if not replies or not prompt.reply.is_declared:
        return
    if not any(prompt.reply.finds(prompt.outputs, reply) for reply in replies):
        raise UserError(
            f"{prompt.reply} finds nothing in the replies to the first {plural(len(results), 'row')}.",
            f"One of them: {replies[0][:SHOWN]!r}",
            "Mend it where the prompt says how its answer is read: in its file, or in OwnPrompt(…) of the recipe.",
        )
