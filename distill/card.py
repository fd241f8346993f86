"""The verdict in words: the table of arms and the classic comparison, for the terminal and for the model card."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jinja2 import Environment, StrictUndefined
from rich.console import Group, RenderableType
from rich.text import Text

from distill.arms import Arm
from distill.verdict import Verdict, paired, sentence
from optimizer.stats import Gain
from optimizer.summary import told
from optimizer.tables import narrow

if TYPE_CHECKING:  # loads torch
    from distill.distillation import Distillation

COLUMNS = (
    "arm",
    "score",
    "95 % interval",
    "over the best prompt",
    "unparsed",
    "prompt tokens",
    "reply tokens",
    "latency, 1 alone",
    "requests/s, 32 in flight",
)
CARD = """\
---
base_model: {{ base }}
library_name: peft
tags: [lora, distillation, promptstill]
---
# {{ name }}, distilled

{{ verdict }}

Measured on {{ n }} test rows that neither the search nor the training saw, through vLLM with prefix caching on,
on {{ device }}:

{{ arms }}

## Fine-tuning or prompt engineering, on this task

{{ comparison }}

## How it was made

- Teacher: the prompt `{{ teacher }}` on {{ teacher_model }}, {{ k }} sampled replies (temperature {{ temperature }})
  and a greedy one to each of {{ asked }} rows.
- Kept: {{ lessons }} answers that score {{ keep }} or more. Rejected: {{ rejected }}. `dataset.jsonl` and
  `rejected.jsonl` hold every answer and the reason.
- Training: LoRA r={{ hyper.r }}, alpha={{ hyper.scale }}, lr={{ "%.1e" | format(hyper.lr) }}, epoch {{ trained.epoch }}
  of {{ trained.dev_scores | length }} kept for its dev score of {{ "%.1f" | format(100 * trained.dev_scores | max) }}.
- {{ liveness }}
- `train.json` has the lineage with all hashes, `metrics.jsonl` the training, `verdict.json` this page's figures.

## How it is used

The student reads the inputs alone, by the template in `prompt.json`: `Prompt.load("prompt.json").request(inputs)` is
the body of the call, with the adapter's served name as `model`.
"""


def rows(verdict: Verdict, seed: int) -> list[list[str]]:
    """The table's cells, an arm a row."""
    gains = {name: paired(arm, verdict.best, seed) for name, arm in verdict.arms.items() if arm is not verdict.best}
    return [[name, *cells(arm, gains.get(name))] for name, arm in verdict.arms.items()]


def cells(arm: Arm, over: Gain | None) -> list[str]:
    score = arm.score
    return [
        f"{100 * score.mean:.1f}",
        f"{100 * score.low:.1f} to {100 * score.high:.1f}",
        f"{100 * over.mean:+.1f} ({100 * over.low:+.1f} to {100 * over.high:+.1f})" if over else "",
        f"{arm.parse_failures:.0%}",
        f"{arm.prompt_tokens:.0f}",
        f"{arm.completion_tokens:.0f}",
        f"{1000 * arm.load.latency_s:.0f} ms",
        f"{arm.load.requests_per_s:.1f}",
    ]


def comparison(verdict: Verdict) -> list[tuple[str, str, str]]:
    """Criterion, prompt engineering, fine-tuning: the classic table with this task's figures."""
    cost, best, student = verdict.cost, verdict.best, verdict.student
    before, after = cost.offtask
    even = "never saved" if verdict.break_even is None else f"saved after {verdict.break_even:,.0f} requests"
    return [
        ("training required", "none", f"{cost.training_seconds / 60:.1f} min on {cost.device}"),
        ("data needed", "dev rows to choose by", f"{cost.rows} lessons, from {cost.teacher_calls:,} teacher calls"),
        (
            "computational cost",
            f"{best.prompt_tokens:.0f} prompt tokens a request",
            f"{student.prompt_tokens:.0f} prompt tokens a request; {cost.seconds / 60:.1f} min once, {even}",
        ),
        (
            "flexibility",
            f"edit the text; the weights stay (off-task probe {before:.0%})",
            f"train again; off-task probe {before:.0%} before, {after:.0%} after",
        ),
        ("latency, 1 alone", f"{1000 * best.load.latency_s:.0f} ms", f"{1000 * student.load.latency_s:.0f} ms"),
        ("score", f"{100 * best.score.mean:.1f}", f"{100 * student.score.mean:.1f}"),
    ]


def terminal(verdict: Verdict, seed: int) -> RenderableType:
    """The arms for the terminal, within 80 columns, and the paired differences below."""
    figures = ("score", "95 % interval", "unparsed", "tokens", "alone", "req/s")
    shown = narrow(f"test: {verdict.best.score.n} rows, read once for each arm", "arm", *figures)
    for name, score, interval, _, unparsed, prompt_tokens, reply_tokens, alone, per_s in rows(verdict, seed):
        shown.add_row(name, score, interval, unparsed, f"{prompt_tokens}+{reply_tokens}", alone, per_s)
    lines = [f"over the best prompt:  {told(verdict.over_best)}"]
    if verdict.over_gold:
        lines.append(f"over the gold student: {told(verdict.over_gold)}")
    note = "tokens: prompt + reply; alone: median latency of a lone request; req/s: with 32 in flight"
    return Group(shown, Text(note, style="dim"), Text(""), *map(Text, lines))


def markdown(header: tuple[str, ...], lines: list[list[str]] | list[tuple[str, str, str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, ["---"] * len(header), *lines])


def card(made: Distillation) -> str:
    """README.md of the distilled folder."""
    plan, taught, verdict = made.plan, made.taught, made.verdict
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    return environment.from_string(CARD).render(
        base=plan.student_model.name,
        name=plan.name,
        verdict=sentence(verdict),
        n=verdict.best.score.n,
        device=verdict.cost.device,
        arms=markdown(COLUMNS, rows(verdict, made.settings.seed)),
        comparison=markdown(("", "prompt engineering", "fine-tuning"), comparison(verdict)),
        teacher=plan.teacher.id[:12],
        teacher_model=plan.teacher_model.name,
        k=made.settings.k,
        temperature=made.settings.temperature,
        asked=len(plan.rows),
        lessons=len(taught.entries),
        keep=f"{taught.keep:g}",
        rejected=", ".join(f"{n} {kind}" for kind, n in taught.rejected.items()) or "none",
        hyper=made.student.hyper,
        trained=made.student.trained,
        liveness=made.liveness.sentence,
    )
