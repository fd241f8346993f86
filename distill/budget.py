"""What a distillation may spend on the teacher and on a judge: its ledger, and what is said of it before and after.

The four limits are of the teacher, the short requests before it, a judge, and the prompt to beat where it is asked at
the teacher's endpoint. Minutes are counted until the teacher's answers are filtered. What our own engine is asked on
test counts nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from distill.folder import TIMING
from distill.plan import DistillPlan
from distill.settings import DistillSettings
from distill.teach.teacher import TEACHER, shown_rows
from promptstill.endpoint.allowance import JUDGE, Allowance, LimitReached
from promptstill.endpoint.store import CallStore, Total
from promptstill.events import Say
from promptstill.shell import command_line
from promptstill.task.metrics import is_judge
from promptstill.text import duration

HERE = "here"  # the role of what our own engine is asked for the arms
FIRST_ANSWERS = 20  # by which the rest is foretold


class UncountedCalls(Allowance):
    """Of calls that no limit counts, since our own engine answers them. What a judge costs goes to `whole`."""

    def __init__(self, whole: Allowance) -> None:
        super().__init__()
        self._whole = whole

    def pay(self, role: str, cost: Total) -> None:
        super().pay(role, cost)
        if role == JUDGE:
            self._whole.pay(role, cost)


def open_allowance(
    plan: DistillPlan, settings: DistillSettings, store: CallStore, unstored: Mapping[str, Total]
) -> Allowance:
    """The ledger, with what earlier parts of the distillation spent. unstored: by roles whose calls `store` has not.

    Set aside are the test rows, and those of dev by which it is timed, where the prompt to beat is asked at the
    teacher's endpoint; not what is answered already.
    """
    spent = {role: total for role, total in store.totals().items() if role != HERE} | dict(unstored)
    splits = plan.opened.splits
    wanted = len(splits.test) + len(splits.dev) if settings.asks_best_there else 0
    held = max(wanted - sum(spent.get(role, Total()).calls for role in ("test", TIMING)), 0)
    return Allowance(settings.limits, spent, held=held, seconds=store.working_seconds(TEACHER))


def teacher_calls(plan: DistillPlan, settings: DistillSettings) -> int:
    """The calls that the teacher takes at most."""
    asked = [(plan.teacher_prompt, plan.rows)]
    asked += [(plan.final.teacher_prompt, plan.final.rows)] if plan.final else []
    rows = sum(len(rows) - len(shown_rows(prompt, rows)) for prompt, rows in asked)
    return (settings.k + 1) * rows


def forecast_lines(plan: DistillPlan, settings: DistillSettings, calls: int, held: int = 0) -> Iterator[str]:
    """What asking the teacher costs at most, before it is asked; a line each.

    calls: that it takes at most. held: that are set aside for the prompt to beat.
    """
    limits, each = settings.limits, measured_tokens(plan)
    known, most = "", calls + held
    if each:
        total = Total(most, round(most * each.prompt_tokens), round(most * each.completion_tokens))
        usd = limits.cost(total)
        money = f", {usd:.2f} USD" if usd else ""
        known = f", some {total.tokens:,} tokens{money} by what best.json measured on test"
    besides = f" and {held:,} for the prompt to beat" if held else ""
    yield f"forecast: at most {calls:,} calls to the teacher{besides}{known}"
    if is_judge(plan.metric):
        yield "besides, the judge marks each different answer, those of dev after each epoch, and each arm's on test"
    if limits.calls is not None and limits.calls < most:
        yield f"--max-calls {limits.calls} may end it before; then --resume goes on with a higher limit"


def measured_tokens(plan: DistillPlan) -> Total | None:
    """The mean tokens of a request on test, as best.json has them of its prompt; None where another prompt is asked."""
    test = plan.artifact["scores"].get("test") or {}
    report = test.get(plan.artifact["shipped"])
    if not report or not report.get("prompt_tokens") or plan.teacher_prompt.id != plan.best_prompt.id:
        return None
    return Total(1, round(report["prompt_tokens"]), round(report.get("completion_tokens", 0)))


class TeacherPace:
    """Tells, after the first answers, what all of them take."""

    def __init__(self, allowance: Allowance, say: Say) -> None:
        self.allowance, self._say, self._told = allowance, say, False
        self._before, self._began = self._spent, allowance.seconds

    @property
    def _spent(self) -> Total:
        return self.allowance.spent.get(TEACHER, Total())

    def __call__(self, done: int, total: int) -> None:
        """`done` of `total` answers are there, stored ones among them."""
        calls = self._spent.calls - self._before.calls
        if self._told or calls < FIRST_ANSWERS or done == total:
            return
        self._told = True
        left = (total - done) / calls
        tokens = [self._spent.prompt_tokens - self._before.prompt_tokens]
        tokens += [self._spent.completion_tokens - self._before.completion_tokens]
        more = Total(round(left * calls), *(round(left * one) for one in tokens))
        usd = self.allowance.limits.cost(more)
        seconds = left * (self.allowance.seconds - self._began)
        money = f", {usd:.2f} USD" if usd else ""
        rest = f"about {duration(seconds)}, {more.tokens:,} tokens{money}"
        self._say(f"by the first {calls} answers, the rest takes {rest}")


def limit_line(folder: Path, reached: LimitReached) -> str:
    """The command that goes on at twice the limit that was reached."""
    doubled = replace(reached.limit, value=2 * reached.limit.value)
    return f"to go on: {command_line('distill', '--resume', folder, doubled.option, doubled.amount)}"
