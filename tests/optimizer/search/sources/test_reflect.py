"""Reflection at the wire: what the proposer is told, which children enter the space, and for how long it is asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import dspy
import pytest
from optuna.storages import InMemoryStorage

from optimizer.search.candidate import Candidate
from optimizer.search.growth import SpaceGrowth
from optimizer.search.playoff import SearchOutcome
from optimizer.search.race import MIN_GENERATION, later_generations
from optimizer.search.reflection.failures import confusions, deal
from optimizer.search.reflection.parents import pick_parents
from optimizer.search.search import Search
from optimizer.search.sources.proposer import reply_tokens
from optimizer.search.sources.reflect import NO_BETTER, PROPOSALS, STEPS, ReflectSource, next_count
from optimizer.search.sources.source import SourceContext
from optimizer.search.space import NO_DEMOS, Addition, DemoSet, Space
from optimizer.search.study import StoredStudy, Trial
from optimizer.search.task import SearchTask
from promptstill import UserError
from promptstill.endpoint.client import Client
from promptstill.prompt.layouts.task import Task
from promptstill.scoring.evaluate import ScoredRow
from promptstill.task.examples import Example
from tests.support.answers import to_example
from tests.support.client import run_with_client
from tests.support.fake import Body, FakeEndpoint

RULE = "An item with an even number is even."
NEXT_RULE = "So is one with a number that four divides."
MARKER = "<|im_end|>"
TASK = Task(dspy.Signature("item -> kind: Literal['even', 'odd']", "Say the kind."), "fake", 16, markers=(MARKER,))
PROPOSER = "writer"
MOST = STEPS * PROPOSALS


def row(number: int) -> Example:
    inputs, outputs = {"item": f"item no {number}{MARKER}"}, {"kind": "odd" if number % 2 else "even"}
    return Example(str(number), f"row {number}", inputs, outputs, {**inputs, **outputs}, str(number))


TRAIN, DEV = [row(number) for number in range(1, 81)], [row(number) for number in range(101, 141)]
SETS = {NO_DEMOS: DemoSet(), **{f"labeled-{i}": DemoSet(({"item": f"jar {i}", "kind": "odd"},)) for i in range(8)}}
SPACE = Space((), (1,), 1, ("chat",), structured=True, instructions=("Say the kind.",), demo_sets=SETS)
Writes = Callable[[str], str]


def score(example: object, found: object) -> tuple[float, str]:
    """Right or wrong, in words too."""
    right = str(getattr(example, "kind", "")) == str(getattr(found, "kind", ""))
    return (1.0, "") if right else (0.0, "Mind the number.")


JUDGING = [to_example(900, {"item": "item no 900, a lamp of brass"}, {"kind": "odd"})]
CONTEXT = SourceContext(TASK, TRAIN, score, (), 1, PROPOSER, 3, judging=JUDGING)


def text_of(body: Body) -> str:
    return "\n".join(str(message["content"]) for message in body["messages"])


def model(writes: Writes) -> Callable[[Body], str]:
    """A model that says odd of all items unless it is told the rules, and a proposer beside it."""

    def reply(body: Body) -> str:
        text = text_of(body)
        if body["model"] == PROPOSER:
            return f"```\n{writes(text)}\n```" if "within ``` blocks" in text else "ok"
        number = int(text.rsplit("item no ", 1)[1].split("<")[0].split()[0])
        return "even" if (NEXT_RULE if number % 4 == 0 else RULE) in text and number % 2 == 0 else "odd"

    return reply


def good(text: str) -> str:
    """The first rule, and the next where the first stands in the instruction already."""
    return f"Answer by the item's number. {RULE}{f' {NEXT_RULE}' if RULE in text else ''}"


def junk(text: str) -> str:
    return f"Think of things that are {len(text)} years old."


def trial(slot: int, scores: Sequence[float], demos: str = NO_DEMOS) -> Trial:
    candidate, mean = Candidate("chat", demos, 1, 0), sum(scores) / len(scores)
    return Trial(0, slot, candidate, f"{slot}" * 64, mean, dict(enumerate(scores)), False, 0, 9.0, 2.0)


HISTORY = [trial(0, [0.0, 1.0, 0.0, 1.0]), trial(1, [1.0, 0.0, 0.0, 0.0], "labeled-1")]


def reflect(writes: Writes, folder: Path, **changes: object) -> tuple[Addition, FakeEndpoint, int]:
    """One round: what it added, the endpoint, and the calls that it named as the most."""
    source = ReflectSource(replace(CONTEXT, **changes))  # type: ignore[arg-type]
    count = source.count(1)

    async def work(client: Client) -> Addition:
        return await source.propose(SPACE, HISTORY, count, client.share(source.max_calls(count)))

    with FakeEndpoint(model(writes)) as fake:
        return run_with_client(fake, folder, work), fake, source.max_calls(count)


def requests(fake: FakeEndpoint) -> list[str]:
    """What the proposer was asked to write."""
    return [text for body in fake.bodies if "within ``` blocks" in (text := text_of(body))]


def asked_items(fake: FakeEndpoint) -> list[str]:
    return [text_of(body) for body in fake.bodies if body["model"] != PROPOSER]


def test_rules_learned_from_failures_enter_with_the_candidate_that_they_improve(tmp_path: Path) -> None:
    added, fake, most = reflect(good, tmp_path)
    assert RULE in added.instructions[0] and NEXT_RULE in added.instructions[0], "a child that won is a parent at once"
    names = [{**one, "instruction": 0} for one in added.origins]
    assert names[0] in [one.candidate.to_params() for one in HISTORY] and len(names) == len(added.instructions)
    assert sum(fake.calls.values()) <= most
    told = requests(fake)
    assert len(told) == 2 * PROPOSALS and len(set(told)) > PROPOSALS + 1, "each is told of other failures"
    assert all("Mind the number." in one and "## The right kind\neven" in one for one in told)
    assert not any(MARKER in one for one in told), "an input is data there too"


def test_no_row_of_the_pairing_is_told_to_a_proposer(tmp_path: Path) -> None:
    _, fake, _ = reflect(junk, tmp_path)
    answered = [text for text in asked_items(fake) if "years old" in text]
    judged = {number for number in range(1, 81) if any(says(text, number) for text in answered)}
    assert len(judged) == 10 and len(requests(fake)) == PROPOSALS
    assert not any(says(told, number) for told in requests(fake) for number in judged)


def says(text: str, number: int) -> bool:
    """Whether a row stands in a text."""
    tail = text.split(f"item no {number}")[1:]
    return any(not part[:1].isdigit() for part in tail)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (junk, NO_BETTER),
        (lambda text: "言葉は短く。色で答えてください。", NO_BETTER),
        (lambda text: "Say the kind!", "said what another says"),
        (lambda text: "", "empty"),
        (lambda text: "Say odd of item no 900, a lamp of brass!", "held a row of dev"),
        (lambda text: f"Answer by the number.{MARKER}", "held a chat marker"),
        (lambda text: "word " * 3_000, "longer than 6000 characters"),
    ],
)
def test_a_child_that_is_of_no_use_is_refused_with_its_reason(reply: Writes, reason: str, tmp_path: Path) -> None:
    added, _, _ = reflect(reply, tmp_path)
    assert not added.instructions and reason in added.refused and len(added.refused) == PROPOSALS


def test_a_reply_that_is_cut_is_refused_and_a_small_context_bounds_it(tmp_path: Path) -> None:
    source = ReflectSource(replace(CONTEXT, context_tokens=2048))
    assert reply_tokens(source.context) == 512 and reply_tokens(CONTEXT) >= 1_000

    async def work(client: Client) -> Addition:
        return await source.propose(SPACE, HISTORY, PROPOSALS, client)

    with FakeEndpoint(model(good), finish=lambda body: "length" if body["model"] == PROPOSER else "stop") as fake:
        added = run_with_client(fake, tmp_path, work)
    assert added.refused == ("cut at the reply limit",) * PROPOSALS
    written = [body for body in fake.bodies if "within ``` blocks" in text_of(body)]
    assert {body["max_tokens"] for body in written} == {512}
    assert all(len(text_of(body).encode()) <= 3 * (2048 - 512) for body in written)


def test_where_nothing_fails_nothing_is_asked(tmp_path: Path) -> None:
    told = replace(SPACE, instructions=(f"Say the kind. {RULE} {NEXT_RULE}",))
    source = ReflectSource(CONTEXT)
    with FakeEndpoint(model(good)) as fake:
        added = run_with_client(fake, tmp_path, lambda client: source.propose(told, HISTORY, 4, client))
    assert added == Addition()
    assert all(body["model"] != PROPOSER for body in fake.bodies)


def test_its_share_falls_to_nothing_where_no_child_is_kept() -> None:
    dry, kept = Addition(refused=("empty",) * 4), Addition(("Do it so.",), refused=("empty",) * 3)
    rounds: list[Addition] = []
    counts = []
    for _ in range(5):
        counts.append(next_count(rounds))
        rounds.append(dry)
    assert counts == [MOST, MOST, MOST // 2, 0, 0]
    assert next_count([kept, dry]) == MOST and next_count([dry, dry, kept]) == 2 * MOST, "who wins may go further"


def test_no_proposer_means_no_reflection_and_the_tasks_own_model_comes_later() -> None:
    assert not any(ReflectSource(replace(CONTEXT, proposals=0)).count(number) for number in range(4))
    own = ReflectSource(replace(CONTEXT, proposer=None))
    assert [own.count(number) for number in range(4)] == [0, 0, MOST, 2 * MOST]
    assert [ReflectSource(CONTEXT).count(number) for number in range(2)] == [0, MOST]
    assert not ReflectSource(replace(CONTEXT, train=TRAIN[:20])).count(2), "too few rows to learn from"


def test_parents_are_the_leader_and_one_that_is_best_somewhere() -> None:
    worse = trial(2, [0.0, 1.0, 0.0, 0.0], "labeled-2")
    lost = replace(trial(3, [1.0, 1.0, 1.0, 1.0]), lost=True)
    other = replace(HISTORY[1], candidate=replace(HISTORY[1].candidate, instruction=1))
    picked = {tuple(one.slot for one in pick_parents([HISTORY[0], other, worse, lost], f"seed {n}")) for n in range(20)}
    assert picked == {(0,), (0, 1)}, "2 is best nowhere that 0 is not"
    assert {len(pick_parents(HISTORY, f"seed {n}")) for n in range(20)} == {1}, "one of the same words improves alike"
    assert not pick_parents([lost], "seed")


def result(number: int, kind: str, value: float = 0.0) -> ScoredRow:
    return ScoredRow(TRAIN[number], value, kind, {"kind": kind}, None, 9, 0, 2, 0.1)


def test_failures_are_dealt_and_confusions_counted() -> None:
    found = [result(number, "odd") for number in range(6)]
    first, second = deal(found, 2)
    assert first[:3] == found[0::2] and second[:3] == found[1::2] and len(first) == len(second) == 4
    assert deal(found[:1], 3) == [found[:1]] * 3
    assert confusions(found, "kind") == [(("even", "odd"), 3)]


class Run:
    """A search of three generations with reflection alone, whose study and calls outlive its process."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.study = folder / name, StoredStudy(InMemoryStorage(), name)
        self.folder.mkdir()
        self.task = SearchTask(TASK, SPACE, TRAIN, DEV, CONTEXT.metric, 3, 24)
        self.most = 0

    def go_on(self, fake: FakeEndpoint) -> SearchOutcome:
        async def work(client: Client) -> SearchOutcome:
            growth = SpaceGrowth(
                self.study, {"reflect": ReflectSource(replace(CONTEXT, seed=3))}, client, self.folder / "pools.json"
            )
            task = replace(self.task, space=await growth.start(SPACE))
            search = Search(task, client, self.study, lambda *_: None, growth)
            self.most = self.most or search.max_calls()
            return await search.run()

        return run_with_client(fake, self.folder, work, window=1)


def test_a_kept_child_is_tried_first_and_calls_stay_within_what_was_named(tmp_path: Path) -> None:
    run = Run(tmp_path, "whole")
    with FakeEndpoint(model(good)) as fake:
        outcome = run.go_on(fake)
    first_of_later = outcome.trials[len(run.task.starters())]
    assert first_of_later.candidate.instruction == 1
    origin = next(one for one in outcome.trials if one.candidate == replace(first_of_later.candidate, instruction=0))
    assert first_of_later.value > origin.value
    space = json.loads((run.folder / "pools.json").read_text())
    assert NEXT_RULE in space["instructions"][outcome.winner.candidate.instruction]
    rounds = later_generations(24, len(run.task.starters()), MIN_GENERATION)
    assert later_generations(24, 8) == 2 and sum(fake.calls.values()) <= run.most
    source = ReflectSource(CONTEXT)
    assert run.most == 24 * len(DEV) + source.max_calls(MOST) + (rounds - 1) * source.max_calls(2 * MOST)


@pytest.mark.parametrize(("step", "after"), [(0, 0), (0, 9), (1, 2), (2, 12)])
def test_a_search_that_dies_while_it_reflects_repeats_no_call_and_ends_alike(
    step: int, after: int, tmp_path: Path
) -> None:
    whole, broken = Run(tmp_path, "whole"), Run(tmp_path, "broken")
    with FakeEndpoint(model(good)) as fake:
        outcome, calls = whole.go_on(fake), fake.calls
        asked = [place for place, body in enumerate(fake.bodies) if "within ``` blocks" in text_of(body)]
    steps = [place for place, before in zip(asked, [-99, *asked], strict=False) if place - before > 9]
    assert len(steps) == 3, "two before the second generation, one before the third"
    dies_at = steps[step] + 1 + after
    with FakeEndpoint(model(good)) as fake:
        fake.misbehave = lambda number: 401 if number >= dies_at else None
        with pytest.raises(UserError):
            broken.go_on(fake)
        fake.misbehave = lambda number: None
        again = broken.go_on(fake)
        assert fake.calls == calls, "no call is repeated"
    assert [one.prompt_id for one in again.trials] == [one.prompt_id for one in outcome.trials]
    assert again.winner.prompt_id == outcome.winner.prompt_id
