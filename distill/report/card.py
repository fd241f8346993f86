"""The verdict as tables: the arms, and prompt against student by criterion; for the terminal and for the model card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jinja2 import Environment, StrictUndefined
from rich.console import Group, RenderableType
from rich.text import Text

from distill.verdict.arms import Arm
from distill.verdict.verdict import DistillVerdict, paired_gain, verdict_sentence
from optimizer.command.summary import gain_text
from promptstill.command.tables import narrow_table
from promptstill.endpoint.hosted import is_hosted
from promptstill.scoring.rivals.report import LABELS
from promptstill.scoring.test_report import cut_note
from promptstill.stats import Gain

if TYPE_CHECKING:  # loads torch
    from distill.result import Distillation


COLUMNS = (
    "arm",
    "score",
    "95 % interval",
    "over the best prompt",
    "unparsed",
    "prompt tokens",
    "reply tokens",
    "latency, single request",
    "requests/s, 32 in flight",
)
RIVAL_COLUMNS = ("rival", "score", "95 % interval", "student over it")
CARD = """\
---
base_model: {{ base }}
library_name: peft
tags: [lora, distillation, promptstill]
---
# {{ name }}, distilled

{{ verdict }}

{% if final %}
Measured, of the student that was trained without the first fold, on that fold's {{ n }} rows, through vLLM with prefix
caching, on {{ device }}:
{% else %}
Measured on {{ n }} test rows that neither the search nor the training saw, through vLLM with prefix caching, on
{{ device }}:
{% endif %}

{{ arms }}
{% if rivals %}

What needs no language model, on the same rows:

{{ rivals }}
{% endif %}

## Fine-tuning or prompt engineering, on this task

{{ comparison }}

## How it was made

{% if final %}
The student that was compared:

{% endif %}
- Teacher: the prompt `{{ teacher }}` on {{ teacher_model }}. It gave {{ k }} sampled replies (temperature
  {{ temperature }}) and a greedy one to each of {{ asked }} rows.
- Training rows: {{ training_rows }}. Scored answers needed a score of {{ min_score }} or more. Rejected:
  {{ rejected }}.
  `dataset.jsonl` has the training rows, `rejected.jsonl` the other answers, each with its reason.
- Training: LoRA with r={{ hyper.r }}, alpha={{ hyper.lora_alpha }}, lr={{ "%.1e" | format(hyper.lr) }}. Of
  {{ training.dev_scores | length }} epochs, epoch {{ training.epoch }} was kept for its dev score of
  {{ "%.1f" | format(100 * training.dev_scores | max) }}.
{% if final %}

The student in this folder:

- Teacher: the prompt `{{ final_teacher }}`, which the run ships. It was asked likewise for all
  {{ final.labelled_rows }} labelled rows and those without labels. `final/dataset.jsonl` has the
  {{ final.training_rows }} training rows, `final/rejected.jsonl` the other answers.
- Training: with the same settings, up to epoch {{ final.epochs }}, the one that was kept above. No row was left to
  choose an epoch by, or to evaluate this student on.
{% endif %}
- {{ adapter_check }}
- `train.json` has the hashes of everything that the adapter was made of, `metrics.jsonl` the course of the training,
  `verdict.json` the figures of this page.

## How to use it

The student needs only the inputs, in the template of `prompt.json`. `Prompt.load("prompt.json").request(inputs)` is the
body of the request; set `model` to the name under which the adapter is served.
"""


def arm_rows(verdict: DistillVerdict, seed: int) -> list[list[str]]:
    """The table's cells, one row for each arm."""
    gains = {
        name: paired_gain(arm, verdict.best, seed) for name, arm in verdict.arms.items() if arm is not verdict.best
    }
    return [[name, *arm_cells(arm, gains.get(name))] for name, arm in verdict.arms.items()]


def arm_cells(arm: Arm, over: Gain | None) -> list[str]:
    score = arm.score
    return [
        f"{100 * score.mean:.1f}",
        f"{100 * score.low:.1f} to {100 * score.high:.1f}",
        f"{100 * over.mean:+.1f} ({100 * over.low:+.1f} to {100 * over.high:+.1f})" if over else "",
        f"{arm.parse_failures:.0%}",
        f"{arm.prompt_tokens:.0f}",
        f"{arm.completion_tokens:.0f}",
        f"{1000 * arm.speed.latency_s:.0f} ms",
        f"{arm.speed.requests_per_s:.1f}",
    ]


def rival_rows(verdict: DistillVerdict) -> list[list[str]]:
    """A row for each rival: its score, and the student's gain over it."""
    rows = []
    for name, rival in verdict.rivals.items():
        score, over = rival.score, rival.gain
        settings = "".join(f", {setting} = {value:g}" for setting, value in rival.settings.items())
        interval = f"{100 * score.low:.1f} to {100 * score.high:.1f}"
        gained = f"{100 * over.mean:+.1f} ({100 * over.low:+.1f} to {100 * over.high:+.1f})"
        rows.append([LABELS[name] + settings, f"{100 * score.mean:.1f}", interval, gained])
    return rows


def comparison_rows(verdict: DistillVerdict) -> list[tuple[str, str, str]]:
    """By criterion, what prompt engineering and fine-tuning took and gave on this task."""
    cost, best, student = verdict.cost, verdict.best, verdict.student
    before, after = cost.retention
    even = "never saved" if verdict.break_even is None else f"saved after {verdict.break_even:,.0f} requests"
    return [
        ("training required", "none", f"{cost.training_seconds / 60:.1f} min on {cost.device}"),
        (
            "data needed",
            "dev rows to choose by",
            f"{cost.training_rows} training rows, from {cost.teacher_calls:,} teacher calls",
        ),
        (
            "computational cost",
            f"{best.prompt_tokens:.0f} prompt tokens per request",
            f"{student.prompt_tokens:.0f} prompt tokens per request; {cost.seconds / 60:.1f} min once, {even}",
        ),
        (
            "flexibility",
            f"edit the text; the weights stay (off-task probe {before:.0%})",
            f"train again; off-task probe {before:.0%} before, {after:.0%} after",
        ),
        (
            "latency, single request",
            f"{1000 * best.speed.latency_s:.0f} ms",
            f"{1000 * student.speed.latency_s:.0f} ms",
        ),
        ("score", f"{100 * best.score.mean:.1f}", f"{100 * student.score.mean:.1f}"),
    ]


def terminal_table(verdict: DistillVerdict, seed: int) -> RenderableType:
    """The arms for the terminal, within 80 columns, and below them the student's paired gains."""
    figures = ("score", "95 % interval", "unparsed", "tokens", "alone", "req/s")
    table = narrow_table(f"test: {verdict.best.score.n} rows", "arm", *figures)
    for name, score, interval, _, unparsed, prompt_tokens, reply_tokens, alone, per_s in arm_rows(verdict, seed):
        table.add_row(name, score, interval, unparsed, f"{prompt_tokens}+{reply_tokens}", alone, per_s)
    for name, score, interval, _ in rival_rows(verdict):
        table.add_row(name.split(",")[0], score, interval)
    lines = [f"over the best prompt:  {gain_text(verdict.over_best)}"]
    if verdict.over_gold:
        lines.append(f"over the gold student: {gain_text(verdict.over_gold)}")
    lines += [f"over {LABELS[name] + ':':17} {gain_text(rival.gain)}" for name, rival in verdict.rivals.items()]
    if cut := cut_note({name: arm.cut for name, arm in verdict.arms.items()}, verdict.best.score.n):
        lines.append(cut)
    note = "tokens: prompt + reply; alone: median latency of a single request; req/s: with 32 in flight"
    return Group(table, Text(note, style="dim"), Text(""), *map(Text, lines))


def markdown_table(header: tuple[str, ...], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, ["---"] * len(header), *lines])


def model_card(result: Distillation) -> str:
    """README.md of the distilled folder."""
    plan, data, verdict = result.plan, result.teacher_data, result.verdict
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True, autoescape=False)
    return environment.from_string(CARD).render(
        base=plan.student_model.name,
        name=plan.name,
        verdict=verdict_sentence(verdict),
        n=verdict.best.score.n,
        device=verdict.cost.device,
        arms=markdown_table(COLUMNS, arm_rows(verdict, result.settings.seed)),
        rivals=markdown_table(RIVAL_COLUMNS, rival_rows(verdict)) if verdict.rivals else "",
        comparison=markdown_table(("", "prompt engineering", "fine-tuning"), comparison_rows(verdict)),
        teacher=data.prompt_id[:12],
        teacher_model=plan.teacher_model.name
        + (", through LiteLLM" if is_hosted(result.settings.teacher_source.base_url or "") else ""),
        k=result.settings.k,
        temperature=result.settings.temperature,
        asked=len(plan.rows),
        training_rows=len(data.rows),
        min_score=f"{data.min_score:g}",
        rejected=", ".join(f"{n} {kind}" for kind, n in data.rejected.items()) or "none",
        hyper=result.student.hyper,
        training=result.student.training,
        adapter_check=result.shipped_check.sentence,
        final=verdict.final,
        final_teacher=data.final.prompt_id[:12] if data.final else "",
    )
