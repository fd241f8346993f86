"""The metric on the gold answers, before any call: each should score 1.0, since no prompt can do better.

Refuses a metric by which no row's gold answer scores, and rows that all have one label. A judge is not asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from promptstill.errors import UserError
from promptstill.prompt.fields import Field, as_text
from promptstill.task.examples import Example
from promptstill.task.load import did_you_mean
from promptstill.task.metrics.apply import apply_metric, metric_name
from promptstill.task.metrics.whole import SplitMetric
from promptstill.task.recipe import Metric
from promptstill.text import plural

NAMED_ROWS = 3
FULL = 1.0 - 1e-9


def gold_warnings(metric: Metric, examples: Sequence[Example]) -> list[str]:
    """A line that names the rows whose gold answer does not score in full, if any. Raises `UserError` where the metric
    raises, and where no row scores above zero."""
    scores = [apply_metric(metric, example, example.outputs).score for example in examples]
    name = metric_name(metric)
    if not any(scores):
        raise UserError(
            f"The metric {name} gives 0 to the gold answer of each of the {plural(len(scores), 'row')}.",
            f"The first is {examples[0].location}. No prompt could score, whatever it answers.",
            "Mend the metric: given a row's own answer as the prediction it should return 1.0.",
        )
    low = [(example, score) for example, score in zip(examples, scores, strict=True) if score < FULL]
    if not low:
        return []
    named = ", ".join(f"{example.location} ({score:.2f})" for example, score in low[:NAMED_ROWS])
    return [
        f"the metric {name} scores the gold answer below 1.0 in {len(low)} of {plural(len(scores), 'row')}: "
        f"{named}{', …' if len(low) > NAMED_ROWS else ''}; look whether the rows or the metric are wrong"
    ]


def label_warnings(metric: Metric, splits: Mapping[str, Sequence[Example]], outputs: Sequence[Field]) -> list[str]:
    """A line for each split that lacks labels of an output that other rows have; of what a metric of a whole split
    compares, that metric says so itself."""
    lines = []
    for name in (one.name for one in outputs if one.choices):
        if isinstance(metric, SplitMetric) and metric.field == name:
            continue
        found = {split: {as_text(row.outputs.get(name)) for row in rows} for split, rows in splits.items()}
        for split in ("train", "dev", "test"):
            if missing := sorted(set().union(*found.values()) - found[split]):
                named = ", ".join(map(repr, missing[:NAMED_ROWS])) + (", …" if len(missing) > NAMED_ROWS else "")
                lines.append(f"no {split} row has the {name} {named}: add some, or move some from another split")
    return lines


def refuse_unknown_accepted(metric: Metric, examples: Sequence[Example]) -> None:
    """Refuse `accepted=` with a field that no row has. Raises `UserError`."""
    accepted = getattr(metric, "accepted", None)
    if accepted and not any(accepted in example.row for example in examples):
        raise UserError(
            f"{metric_name(metric)} looks for accepted answers in {accepted}, which no row has.",
            did_you_mean(accepted, examples[0].row),
            "Name the field that holds them, or leave accepted= out.",
        )


def refuse_one_label(metric: Metric, examples: Sequence[Example], outputs: Sequence[Field]) -> None:
    """Refuse rows that all have the same answer, in the field that the metric compares or in labels. Raises
    `UserError`."""
    field = getattr(metric, "field", None)
    names = [field] if field else [one.name for one in outputs if one.choices]
    for name in names:
        answers = {as_text(example.outputs[name]) for example in examples if name in example.outputs}
        if len(answers) == 1 and len(examples) > 1:
            raise UserError(
                f"All {plural(len(examples), 'row')} have the same {name}: {next(iter(answers))[:80]!r}.",
                "A prompt that always answers this would be right, so no score could tell prompts apart.",
                "Add rows with other answers, or leave this output out of the signature.",
            )
