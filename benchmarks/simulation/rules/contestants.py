"""Contestants in a world of rules: our own search, and DSPy's optimizers, each at an endpoint of its own.

    ours      `optimize`, ended by its limit at each cap and then gone on with
    alone     the same without a proposer
    no-...    the same without one of the sources of `LACKS`
    gepa      `dspy.GEPA`: one search to the largest cap, which the endpoint ends; what it had best on dev at each cap
    mipro     `dspy.MIPROv2`: a search for each cap, its light run at 500 calls, medium at 1,000, heavy above
    simba     `dspy.SIMBA`: a search for each cap, of sizes that end inside it

All have the same rows, metric, model and proposer. Each peer runs in this process, asks one call at a time, and is
stopped by the call that the endpoint refuses.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

from benchmarks.simulation.rules.endpoint import MODEL, PROPOSER, RulesEndpoint
from benchmarks.simulation.rules.reply_form import request_text
from benchmarks.simulation.rules.world import RulesWorld, request_texts
from benchmarks.simulation.rules.worlds import SKILLS, WORLDS
from optimizer import SearchSettings, optimize
from optimizer.run.folder import RunFolder
from optimizer.search.sources import SOURCES
from promptstill.endpoint.allowance import Limits

RECIPE = Path(__file__).with_name("recipe.py")
TRIALS = 1_000  # more than any cap pays for, so that the cap ends the search
OURS, ALONE = "ours", "alone"
LACKS = {"no-reflection": "reflect", "no-evolution": "evolve"}  # a source that our search goes without
PEERS = ("gepa", "mipro", "simba")


@dataclass(frozen=True)
class Case:
    """A contestant in a world, by the world's place in `WORLDS`, with a proposer of some skill."""

    world: int
    skill: str
    contestant: str


@dataclass(frozen=True)
class Point:
    """A contestant's result at a cap. truth: of its prompt. rules: how many it states. ended: whether by itself."""

    cap: int
    calls: int
    truth: float
    rules: int
    ended: bool


def search(case: Case, caps: Sequence[int]) -> list[Point]:
    """A contestant's point at each cap; the caps are in rising order."""
    if case.contestant in PEERS:
        from benchmarks.simulation.rules.peers import search_peer

        with quiet():
            return search_peer(case, caps)
    return search_ours(case, caps)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what DSPy and GEPA print and log."""
    logging.disable(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)


def open_world(case: Case, cap: int) -> RulesEndpoint:
    return RulesEndpoint(RulesWorld(WORLDS[case.world]), SKILLS[case.skill], cap)


@contextlib.contextmanager
def lacking(case: Case) -> Iterator[None]:
    """Without the source that a case goes without."""
    others = {name: source for name, source in SOURCES.items() if name != LACKS.get(case.contestant)}
    with patch.dict(cast(dict[str, Any], SOURCES), others, clear=True):
        yield


def search_ours(case: Case, caps: Sequence[int]) -> list[Point]:
    """Our search, which reads its one row of test at each cap."""
    points: list[Point] = []
    folders = tempfile.TemporaryDirectory(prefix="rules-")
    with open_world(case, caps[-1]) as endpoint, folders as folder, lacking(case):
        settings = SearchSettings(
            recipe=str(RECIPE),
            parameters={"world": str(case.world)},
            model=MODEL,
            base_url=endpoint.base_url,
            proposer="none" if case.contestant == ALONE else PROPOSER,
            trials=TRIALS,
            dspy=False,
            rivals=False,
        )
        run: Path | None = None
        for cap in caps:
            limited = replace(settings, limits=Limits(calls=cap))
            result = optimize(limited, resume=run, runs=folder, output=None)
            run = result.run.path
            ended = RunFolder(run).record["search"]["stopped"] is None
            points.append(to_point(endpoint, cap, prompt_texts(endpoint.world, run), endpoint.spent, ended=ended))
    return points


def prompt_texts(world: RulesWorld, run: Path) -> list[str]:
    """What the run's winner asks for each held-out row."""
    prompt = RunFolder(run).prompts()["winner"]
    return request_texts(world, lambda text: request_text(prompt.request({"text": text})))


def to_point(endpoint: RulesEndpoint, cap: int, texts: Sequence[str], calls: int, *, ended: bool) -> Point:
    """The point of a prompt, by its requests for the held-out rows."""
    world = endpoint.world
    return Point(cap, calls, round(world.truth(texts), 5), len(world.stated_rules(texts[0])), ended)


def measure(case: Case, caps: Sequence[int]) -> list[dict[str, Any]]:
    """The points as JSON, each with what the baseline prompt and the best prompt there is reach in this world."""
    world = RulesWorld(WORLDS[case.world])
    about = {"start": round(world.truth_of(frozenset()), 5), "best": round(world.best(), 5)}
    return [{**asdict(point), **about} for point in search(case, caps)]
