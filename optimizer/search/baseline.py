"""The user's own prompt in a search: it is the baseline, races first, and its instruction is tried in every layout."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from optimizer.search.race import blocks
from optimizer.search.task import SearchTask
from promptstill.endpoint.allowance import LimitReached
from promptstill.endpoint.client import Client
from promptstill.prompt.fields import as_text
from promptstill.prompt.layouts.task import Task
from promptstill.prompt.prompt import Prompt
from promptstill.scoring.evaluate import score_rows
from promptstill.scoring.unread import FIRST_ROWS, refuse_unread
from promptstill.task.examples import Example

BASELINE = "the baseline prompt"  # of the signature's instruction in the first layout


def own_name(file_name: str | None) -> str | None:
    """What texts call a prompt of the user's own; None where there is none."""
    return f"your prompt {file_name}" if file_name else None


def for_model(own: Prompt | None, task: Task) -> Prompt | None:
    """The user's prompt, as the task's model is asked it."""
    return own and own.asked_of(task.model, task.markers, task.dialect)


def with_own(instructions: Sequence[str], own: Prompt | None) -> tuple[str, ...]:
    """The recipe's instructions behind that of the user's prompt."""
    return ((own.instruction,) if own else ()) + tuple(instructions)


async def refuse_unread_baseline(task: SearchTask, client: Client) -> None:
    """Raises `UserError` where the user's prompt has a pattern or path that finds nothing in the replies to the first
    rows of dev. The race asks them anyway, and finds them stored."""
    if task.own is None or not task.own.reply.is_declared:
        return
    rows = task.dev[: min(FIRST_ROWS, len(blocks(len(task.dev))[0]))]
    with contextlib.suppress(LimitReached):  # the race meets the limit too
        refuse_unread(task.own, await score_rows(task.own, rows, task.metric, client))


def rows_shown(own: Prompt, rows: Sequence[Example]) -> list[Example]:
    """The rows that stand in the user's prompt: each of their inputs is part of its text."""
    text = "\n".join(message["content"] for message in own.preview("\n"))
    return [row for row in rows if all(as_text(value).strip() in text for value in row.inputs.values())]


def unseen_rows(prompt: Prompt, dev: Sequence[Example], *, shared: bool) -> list[Example]:
    """The dev rows on which a prompt can be scored as it is: where they are train rows too, those not shown in it."""
    shown = {id(row) for row in rows_shown(prompt, dev)} if shared else set()
    return [row for row in dev if id(row) not in shown]


def shown_note(own: Prompt, name: str, rows: Sequence[Example]) -> str:
    """That rows of test stand in a prompt of the user's own, as its demos perhaps; empty where none does."""
    count = len(rows_shown(own, rows)) if own.templated else 0
    return (
        f"{count} of {len(rows)} test rows stand word for word in {name}: it is scored too high by them"
        if count
        else ""
    )
