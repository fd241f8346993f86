"""Opens a recipe: loads it, checks and splits its rows, tries its metric. Asks no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from promptstill.errors import UserError
from promptstill.prompt.fields import as_text
from promptstill.prompt.layouts.task import Task
from promptstill.prompt.own.read import OwnPrompt, read_own
from promptstill.prompt.prompt import Prompt
from promptstill.task.examples import Example
from promptstill.task.folds import count_folds, to_folds
from promptstill.task.judge import refuse_idle_judge
from promptstill.task.leakage import leave_out_leaks
from promptstill.task.load import RecipeFile, load_recipe
from promptstill.task.metrics import is_judge
from promptstill.task.metrics.gold import gold_warnings, label_warnings, refuse_one_label, refuse_unknown_accepted
from promptstill.task.metrics.whole import split_warnings
from promptstill.task.program import Program, program_example
from promptstill.task.recipe import SPLITS, Recipe
from promptstill.task.records import to_rows
from promptstill.task.splits import Splits, split_examples, split_rows
from promptstill.task.subject import Subject, read_subject

LONGEST_REPLY = 512  # tokens, where the recipe sets no limit


@dataclass(frozen=True)
class OpenTask:
    """A recipe that has passed all checks that need no model, with its task and its splits.

    own: the recipe's `baseline`, not yet for a model; None without one. warnings: what the metric finds odd in the
    rows. draws: how often each row is asked.
    """

    recipe_file: RecipeFile
    task: Task
    splits: Splits
    program: Program | None = None
    own: Prompt | None = None
    warnings: tuple[str, ...] = ()
    draws: int = 1

    @property
    def name(self) -> str:
        return self.recipe_file.name

    @property
    def recipe(self) -> Recipe:
        return self.recipe_file.recipe

    @property
    def test_calls(self) -> int:
        """Calls that one prompt takes on the test rows."""
        return len(self.splits.test) * self.calls_per_row

    @property
    def calls_per_row(self) -> int:
        """One, but for a program or several draws."""
        return self.program.calls_per_row if self.program else self.draws


def open_task(
    target: str,
    parameters: Mapping[str, str] | None = None,
    *,
    model: str | None = None,
    split_seed: int = 0,
    folds: int | None = 0,
    drop_leaks: bool = False,
) -> OpenTask:
    """Load the recipe of `FILE.py[:NAME]`, and check it, its rows and its metric. Raises `UserError`.

    parameters: texts, as `-p` takes them. model: instead of the recipe's. split_seed: of the random deal of the rows
    into train, dev and test. folds: of a cross-validation, 0 for none; None leaves it to the rows. drop_leaks: whether
    train rows that nearly equal a dev or test row are left out.
    """
    recipe_file = load_recipe(target, parameters or {})
    recipe = recipe_file.recipe
    refuse_idle_judge(recipe.metric)
    subject = read_subject(recipe.signature)
    limit = recipe.max_tokens or LONGEST_REPLY
    task = Task(subject.signature, model or recipe.model, limit, own=subject.own)
    if not task.inputs or not task.outputs:
        raise UserError(
            f"The signature {subject.signature.__name__} has no {'input' if not task.inputs else 'output'} field.",
            "",
            "Declare it: answer: str = dspy.OutputField()",
        )
    splits = read_splits(recipe, subject, task, split_seed)
    if count := count_folds(folds, splits, recipe, program=subject.program is not None):
        splits = to_folds(splits, count, drop_leaks=drop_leaks)
    warnings = check_metric(recipe, splits, task)
    if subject.program is None:
        task = limit_replies(task, splits.train, recipe.max_tokens)
    if drop_leaks and not splits.folds:
        splits = leave_out_leaks(splits)
    own = read_own_of(recipe.own_prompt, task) if recipe.own_prompt else None
    return OpenTask(recipe_file, task, splits, subject.program, own, tuple(warnings))


def check_metric(recipe: Recipe, splits: Splits, task: Task) -> list[str]:
    """The metric tried on the gold answer of every row: what is odd, a line each. Raises `UserError`."""
    examples = splits.labelled
    refuse_unknown_accepted(recipe.metric, examples)
    if is_judge(recipe.metric):
        return []
    refuse_one_label(recipe.metric, examples, task.outputs)
    named: dict[str, Sequence[Example]] = {name: getattr(splits, name) for name in SPLITS}
    lines = [*gold_warnings(recipe.metric, examples), *label_warnings(recipe.metric, named, task.outputs)]
    return [*lines, *split_warnings(recipe.metric, named)]


def read_own_of(own: OwnPrompt, task: Task) -> Prompt:
    """A user's prompt for the task. Raises `UserError`."""
    return read_own(own, task.inputs, task.outputs, task.model, task.max_tokens)


def read_splits(recipe: Recipe, subject: Subject, task: Task, split_seed: int) -> Splits:
    """The rows in their splits: of the task, or of the whole program. Raises `UserError`."""
    if (program := subject.program) is None:
        return split_examples(recipe, task.inputs, task.outputs, split_seed)
    rows = [program_example(row, number, recipe, program) for number, row in enumerate(to_rows(recipe.examples), 1)]
    return split_rows(rows, recipe, split_seed)


def limit_replies(task: Task, train: Sequence[Example], max_tokens: int | None) -> Task:
    """The task with the limits of its replies, from the outputs of train: their length, and whether they are one line.

    max_tokens: the recipe's own limit, where it sets one.
    """
    outputs = [[as_text(value) for value in example.outputs.values()] for example in train]
    longest = max(sum(map(len, texts)) for texts in outputs)  # characters
    single_line = not any("\n" in text for texts in outputs for text in texts)
    limit = max_tokens or min(LONGEST_REPLY, 16 + 8 * (longest // 16))
    return replace(task, max_tokens=limit, single_line=single_line)
