"""Asks a run's best candidates the unlabelled rows, and picks those on which they disagree most.

A row on which all say the same teaches little; one on which they differ tells them apart (query by committee: Settles
2009, Active Learning Literature Survey, section 3.2). Replies are kept in the run's calls.db, so no row is asked twice.
Nothing else of the run changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from optimizer.label.committee import Committee, find_committee
from optimizer.label.disagreement import Answer, disagreement
from optimizer.label.rows import MOST_ROWS, refuse_filled, unlabelled_rows, write_rows
from optimizer.launch import refuse_unserved
from optimizer.run.folder import RunFolder
from optimizer.run.settings import SearchSettings
from promptstill.command.exits import run_async
from promptstill.endpoint.allowance import Allowance, Limit, LimitReached
from promptstill.endpoint.client import Client
from promptstill.endpoint.endpoint import Endpoint
from promptstill.endpoint.stores import open_calls
from promptstill.engine.models import Model
from promptstill.engine.source import open_endpoint
from promptstill.errors import UserError
from promptstill.events import Listener, StepEnded, StepProgress, StepStarted, teller
from promptstill.prompt.fields import as_text
from promptstill.prompt.nearest import near_duplicate, words
from promptstill.prompt.prompt import Prompt
from promptstill.scoring.answer import answer, stored_answer
from promptstill.scoring.evaluate import gather_or_cancel
from promptstill.scoring.rivals.kinds import Kind, output_kind
from promptstill.task.examples import Example
from promptstill.task.open import OpenTask
from promptstill.text import plural

ROLE = "label"  # what the calls are counted as
STEP = "unlabelled rows"


@dataclass(frozen=True)
class AskedRow:
    """A row, each candidate's answer, and how much they differ."""

    example: Example
    answers: Sequence[Answer]
    disagreement: float

    @property
    def words(self) -> list[str]:
        return words(" ".join(map(as_text, self.example.inputs.values())))


@dataclass(frozen=True)
class LabelList:
    """The rows to label, the first first. asked: all rows that every candidate answered. stopped: the limit that kept
    others from it."""

    opened: OpenTask
    picked: Sequence[AskedRow]
    asked: Sequence[AskedRow]
    stopped: Limit | None = None

    @property
    def agreed(self) -> int:
        """The rows on which all candidates said the same."""
        return sum(not row.disagreement for row in self.asked)


def list_rows(
    run: RunFolder, settings: SearchSettings, count: int, file: Path | None, output: Path, listener: Listener
) -> LabelList:
    """The `count` unlabelled rows to label first, written to `output` where there are any.

    settings: the run's, with the endpoint and the limits of now. file: rows to choose among instead of the recipe's.
    Raises `UserError` and `InfrastructureError`.
    """
    opened = settings.open_task()
    settings = settings.at_provider(opened.recipe.model)
    refuse_program(opened)
    run.refuse_changes(opened.recipe_file, opened.splits)
    refuse_filled(output, [field.name for field in opened.task.outputs])
    found = find_committee(run)
    rows = unlabelled_rows(opened, file, settings.seed)
    say = teller(listener)
    if len(rows) > MOST_ROWS:
        say(f"of {len(rows):,} unlabelled rows {MOST_ROWS} are drawn at random")
    model = settings.find_model(opened, say)
    refuse_unserved(settings.source, model, say)
    work = Labelling(run, settings, opened, found, listener)
    with open_endpoint(settings.source, model, run.logs_dir / "label.log", say) as (endpoint, _):
        asked, stopped = run_async(work.ask(rows[:MOST_ROWS], model, endpoint))
    picked = pick(asked, count)
    if picked:
        write_rows(output, [row.example for row in picked], opened)
    return LabelList(opened, picked, asked, stopped)


def refuse_program(opened: OpenTask) -> None:
    """Raises `UserError` for a recipe of a program, whose inputs are not those of the prompt."""
    if opened.program is not None:
        raise UserError(
            f"{opened.recipe_file.path} is of a program.",
            "--label-next asks single prompts.",
            "Label rows drawn at random.",
        )


@dataclass(frozen=True)
class Labelling:
    """What the candidates are asked with."""

    run: RunFolder
    settings: SearchSettings
    opened: OpenTask
    committee: Committee
    listener: Listener

    async def ask(
        self, rows: Sequence[Example], model: Model, endpoint: Endpoint
    ) -> tuple[list[AskedRow], Limit | None]:
        """The rows that all candidates answered, and the limit that kept others from it."""
        with closing(open_calls(self.run.calls_url)) as store:
            async with Client(endpoint, store, Allowance(self.settings.limits)) as client:
                prompts = await self.committee.prompts(self.opened, self.settings, model, client)
                self.tell_price(rows, prompts, client)
                return await self.ask_all(rows, prompts, client)

    def tell_price(self, rows: Sequence[Example], prompts: Sequence[Prompt], client: Client) -> None:
        calls = sum(stored_answer(prompt, row.inputs, client) is None for row in rows for prompt in prompts)
        stored = len(rows) * len(prompts) - calls
        teller(self.listener)(
            f"asking the run's {len(prompts)} best candidates {plural(len(rows), 'unlabelled row')}: "
            f"{plural(calls, 'call')}, {stored:,} stored already"
        )

    async def ask_all(
        self, rows: Sequence[Example], prompts: Sequence[Prompt], client: Client
    ) -> tuple[list[AskedRow], Limit | None]:
        """As `ask`. The rows are asked in their order, so that a limit leaves whole rows."""
        kinds, done = output_kinds(self.opened), 0

        async def ask_row(row: Example) -> AskedRow | Limit:
            nonlocal done
            try:
                given = await gather_or_cancel(answer(prompt, row.inputs, client, ROLE) for prompt in prompts)
            except LimitReached as reached:
                return reached.limit
            done += 1
            self.listener(StepProgress(STEP, done, len(rows)))
            answers = [one.outputs and {name: one.outputs[name] for name in kinds} for one in given]
            return AskedRow(row, answers, disagreement(answers, kinds))

        self.listener(StepStarted(STEP, len(rows)))
        try:
            results = await gather_or_cancel(map(ask_row, rows))
        finally:
            self.listener(StepEnded(STEP))
        asked = [one for one in results if isinstance(one, AskedRow)]
        return asked, next((one for one in results if isinstance(one, Limit)), None)


def output_kinds(opened: OpenTask) -> dict[str, Kind]:
    """Whether each output is a label, a number or anything else, by the labelled rows."""
    labelled = opened.splits.labelled
    return {one.name: output_kind(one, [row.outputs[one.name] for row in labelled]) for one in opened.task.outputs}


def pick(asked: Sequence[AskedRow], count: int) -> list[AskedRow]:
    """The rows with the most disagreement; one that nearly equals a row before it stands behind all others. Rows on
    which all candidates say the same are not picked."""
    first: list[AskedRow] = []
    later: list[AskedRow] = []
    for row in sorted(asked, key=lambda row: -row.disagreement):
        if not row.disagreement or len(first) == count:
            break
        like_another = any(near_duplicate(row.words, other.words) for other in first)
        (later if like_another else first).append(row)
    return (first + later)[:count]
