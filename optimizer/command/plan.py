"""What a search would cost, on a named model, before anything is asked: calls, tokens, money and hours, each with where
its figure comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from optimizer.run.settings import SearchSettings
from optimizer.search.calibrating import LEADERS, has_labels
from optimizer.search.calibrating import ROWS as ROWS_MEASURED
from optimizer.search.forecast import max_test_calls
from optimizer.search.playoff import MAX_CONTENDERS
from optimizer.search.race import MIN_GENERATION, later_generations
from optimizer.search.sources import open_sources
from optimizer.search.sources.given import empty_space, labeled_sets, nearest_sets
from optimizer.search.sources.proposer import reply_tokens
from optimizer.search.sources.source import BEFORE_FIRST_RACE, SourceContext
from optimizer.search.space import BYTES_PER_TOKEN, NO_DEMOS, Addition, DemoSet
from optimizer.search.task import SearchTask
from promptstill.endpoint.allowance import PROPOSER, Limits, Price
from promptstill.endpoint.store import Total
from promptstill.engine.machine import this_machine
from promptstill.engine.source import REMOTE_CONTEXT
from promptstill.files import canonical_json
from promptstill.prompt.layouts import LAYOUTS
from promptstill.task.metrics import is_judge
from promptstill.task.open import OpenTask
from promptstill.text import duration

ROWS = 20  # of dev, whose prompts are written out
REPLY_TOKENS = 4  # beside the answer itself: its form
USUAL_LIMIT = 60  # requests a minute, of a provider's smaller plans
THOUGHTS = "what a model thinks before it answers, or writes besides, comes on top and may be most of it"


@dataclass(frozen=True)
class Plan:
    """Of one run. calls: at most, on_dev and on_test of them on these rows, proposing to the proposer; without those of
    a judge. prompt_tokens, reply_tokens: of a call, about; proposal_tokens: of a proposal, at most."""

    model: str
    calls: int
    on_dev: int
    on_test: int
    proposing: int
    prompt_tokens: float
    reply_tokens: float
    proposal_tokens: int
    limits: Limits

    @property
    def others(self) -> int:
        """The calls neither on dev nor on test."""
        return self.calls - self.on_dev - self.on_test

    @property
    def by_role(self) -> dict[str, Total]:
        """The tokens of the calls, those to the proposer and the others."""
        task, proposing = self.calls - self.proposing, self.proposing
        return {
            "task": Total(task, round(task * self.prompt_tokens), round(task * self.reply_tokens)),
            PROPOSER: Total(proposing, round(proposing * self.prompt_tokens), proposing * self.proposal_tokens),
        }

    @property
    def tokens(self) -> int:
        return sum(total.tokens for total in self.by_role.values())

    @property
    def usd(self) -> float:
        return sum(self.limits.cost(total, role) for role, total in self.by_role.items())


def plan_lines(settings: SearchSettings, opened: OpenTask, runs: Path) -> Iterator[str]:
    """The plan of a run, a line each. runs: where earlier runs are, which tell how fast the model answers."""
    settings = settings.at_provider(opened.recipe.model)
    plan = plan_search(settings, opened)
    yield f"plan of a search on {plan.model}; nothing was asked"
    if settings.effort_taken:
        parts = f"{plan.calls - plan.on_test:,} for the search, by --effort {settings.effort_taken}"
        yield f"calls   at most {plan.calls:,}: {parts}, {plan.on_test:,} on test"
    else:
        parts = f"{plan.on_dev:,} on dev, of which racing usually saves half, {plan.on_test:,} on test"
        others = f"{plan.others:,} for proposals, demos, calibration and the play-off"
        yield f"calls   at most {plan.calls:,}: {parts}, {others}"
    each = f"{plan.prompt_tokens:,.0f} of a prompt and {plan.reply_tokens:,.0f} of a reply in the mean"
    yield f"tokens  about {thousands(plan.tokens)} for all of them: {each}, at {BYTES_PER_TOKEN} bytes a token"
    yield f"        {THOUGHTS}"
    yield f"money   {money_line(settings, plan)}"
    yield f"time    {time_line(settings, plan, runs)}"
    if is_judge(opened.recipe.metric):
        yield "        the judge's calls come besides: one for each different answer, as a rule"
    for limit in settings.limits.each():
        yield f"        {limit} ends it earlier where that is less"


def plan_search(settings: SearchSettings, opened: OpenTask) -> Plan:
    """The calls and tokens of all searches of a run at most; a model's thoughts are not in them."""
    splits, searches = opened.splits, len(opened.splits.folds) + 1
    dev, test = opened.calls_per_row * len(splits.dev) * settings.draws, opened.test_calls
    on_dev = settings.most_trials * dev * searches
    task, context, allowed = first_task(settings, opened), source_context(settings, opened), settings.search_calls
    rounds = later_generations(settings.most_trials, len(task.starters()), MIN_GENERATION)
    if allowed is not None:  # as many rounds as the effort pays for, each as dear as one of the first two
        rounds = min(rounds, allowed // max(1, growth_calls(context, 2)[0] // 2))
    growth, proposing = (count * searches for count in growth_calls(context, rounds))
    on_test = max_test_calls(test, dspy=settings.dspy)
    calls = on_dev + growth + MAX_CONTENDERS * dev * searches + calibration_calls(settings, task) * searches
    calls = on_test + (calls if allowed is None else min(calls, allowed * searches))
    tokens = (*mean_tokens(task), reply_tokens(context))
    return Plan(settings.model or opened.recipe.model, calls, on_dev, on_test, proposing, *tokens, settings.limits)


def growth_calls(context: SourceContext, rounds: int) -> tuple[int, int]:
    """The calls of the sources of candidates at most, in so many rounds, and those of them to the proposer."""
    calls = proposing = 0
    for name, source in open_sources(context).items():
        counts = [source.count(BEFORE_FIRST_RACE + 1 + number) for number in range(rounds)]
        most = sum(source.max_calls(count) for count in counts if count)
        calls += most
        proposing += {"grounded": most, "reflect": sum(counts)}.get(name, 0)
    return calls, proposing


def calibration_calls(settings: SearchSettings, task: SearchTask) -> int:
    """The calls that calibrating a search's prompts takes at most, where labels part at one place, and how sure the
    winner is of dev. Of another endpoint than a vLLM of ours it is not known whether it can be done there."""
    later = max(0, settings.most_trials - len(task.starters()))
    calibrates = settings.calibrates and settings.only == "everything"
    if settings.base_url or not calibrates or not has_labels(task.task) or not later:
        return 0
    return (1 + ROWS_MEASURED) * (LEADERS + later) + len(task.dev)


def source_context(settings: SearchSettings, opened: OpenTask) -> SourceContext:
    """What the sources know before an endpoint is there."""
    recipe, proposer = opened.recipe, settings.proposer if settings.proposing else None
    parts = (opened.task, opened.splits.train, recipe.metric, recipe.instructions, settings.seed)
    return SourceContext(*parts, proposer, settings.proposing, only=settings.only)


def first_task(settings: SearchSettings, opened: OpenTask) -> SearchTask:
    """The task of a first race, as far as it is known before an endpoint is there."""
    train, here = opened.splits.train, settings.base_url is None
    layouts = settings.layouts or tuple(layout for layout in LAYOUTS if here or layout != "raw")
    layouts = layouts if settings.only == "everything" else layouts[:1]
    labels = len(opened.task.outputs[0].choices or ())
    room = settings.demo_room(REMOTE_CONTEXT, slow=here and not this_machine().gpus)
    space = empty_space(train, room, layouts, here, labels=labels)
    sets = {NO_DEMOS: DemoSet()}
    if settings.only != "instructions":
        sets |= labeled_sets(train, max(space.sizes), settings.seed) | nearest_sets(opened.task)
    space = space.grow(Addition((opened.task.signature.instructions,), sets))
    parts = (opened.task, space, train, opened.splits.dev, opened.recipe.metric, settings.seed, settings.most_trials)
    return SearchTask(*parts)


def mean_tokens(task: SearchTask) -> tuple[float, float]:
    """The tokens of a prompt and of a reply: the mean over the first candidates and the first rows of dev."""
    prompts, dev = [task.prompt(candidate) for candidate in task.starters()], task.dev[:ROWS]
    sizes = [size(prompt.messages(row.inputs)) for prompt in prompts for row in dev]
    replies = [size(dict(row.outputs)) for row in dev]
    return mean(sizes) / BYTES_PER_TOKEN, mean(replies) / BYTES_PER_TOKEN + REPLY_TOKENS


def size(value: Any) -> int:
    """In bytes, written as JSON."""
    return len(canonical_json(value).encode())


def money_line(settings: SearchSettings, plan: Plan) -> str:
    """What the tokens cost, and by which price."""
    prices = {"": plan.limits.price, **plan.limits.role_prices}
    paid = [price_text(settings, role, price, plan.model) for role, price in prices.items() if any(price)]
    if not any(plan.limits.price) and settings.base_url:
        paid.append("the task's price is not known: give --price PROMPT,COMPLETION")
    if not paid:
        return "none: the model runs here"
    return f"about {plan.usd:,.2f} USD for all of them; {', '.join(paid)}"


def price_text(settings: SearchSettings, role: str, price: Price, default: str) -> str:
    """A role's price, and where it is from."""
    hosted = settings.hosted_by_role(default).get(role)
    source = "LiteLLM's table" if hosted and hosted.price == price else "--price"
    whose = f"the {role}'s " if role else ""
    return f"{whose}{price[0]:g} USD a million prompt tokens and {price[1]:g} a million of replies ({source})"


def time_line(settings: SearchSettings, plan: Plan, runs: Path) -> str:
    """How long it takes at the pace of the newest run of this model; without one, what a usual limit alone makes."""
    paces = [found for path in runs.glob("*/best.json") if (found := pace_of(path, plan.model))]
    if not paces:
        limited = f"; at a limit of {USUAL_LIMIT} requests a minute, {duration(60 * plan.calls / USUAL_LIMIT)}"
        unknown = f"not known: no run of {plan.model} is in {runs}, whose pace would tell"
        return unknown + (limited if settings.base_url else "")
    _, pace, path = max(paces)
    return f"at most about {duration(plan.tokens / pace)}, at {pace:,.0f} tokens a second as in {path.parent}"


def thousands(tokens: int) -> str:
    """In thousands, since they are an estimate."""
    return f"{1000 * round(tokens / 1000):,}" if tokens > 1000 else str(tokens)


def pace_of(path: Path, model: str) -> tuple[str, float, Path] | None:
    """When a run of the model was made, and its tokens a second; None where the file is of another or is none."""
    try:
        best = json.loads(path.read_text(encoding="utf-8"))
        spent, seconds = Total(**best["search"]["spent"]["total"]), float(best["search"]["seconds"])
        found = (str(best["created_at"]), spent.tokens / seconds, path)
        return found if best["model"]["name"] == model and spent.tokens else None
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError):
        return None
