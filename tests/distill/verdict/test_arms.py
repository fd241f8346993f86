"""Arms of the verdict: what is timed and what is recorded, against a fake endpoint."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing
from pathlib import Path

import pytest

from distill.verdict.arms import Arm, ArmBench, Speed, time_requests
from promptstill.endpoint.allowance import Allowance
from promptstill.endpoint.endpoint import Endpoint
from promptstill.endpoint.stores import file_url, open_calls
from promptstill.errors import InfrastructureError
from promptstill.prompt.layouts.build import build_prompt
from tests.support.answers import BOXES, EXACT, box
from tests.support.fake import FakeEndpoint

PROMPT, ROWS = build_prompt(BOXES, "chat", "Answer."), [box(n, answer="yes") for n in range(8)]


def timed(fake: FakeEndpoint) -> Speed:
    with fake:
        return asyncio.run(time_requests(PROMPT, ROWS, Endpoint(fake.base_url, "weights"), Allowance()))


def test_each_row_is_timed_once_the_first_half_one_after_the_other() -> None:
    fake = FakeEndpoint()
    fake.delay_s = 0.05
    speed = timed(fake)
    assert speed.latency_s >= 0.05 and speed.requests_per_s > 1 / 0.05 and sum(fake.calls.values()) == 8


def test_a_refused_row_is_not_timed() -> None:
    fake = FakeEndpoint()
    fake.misbehave = lambda number: 400 if number in (2, 7) else None
    assert timed(fake).latency_s > 0 and sum(fake.calls.values()) == 6


def test_where_every_row_is_refused_there_is_no_time() -> None:
    fake = FakeEndpoint()
    fake.misbehave = lambda number: 413
    with pytest.raises(InfrastructureError, match="answers no request to be timed"):
        timed(fake)


def test_cut_replies_are_recorded_and_an_arm_from_before_that_is_read(tmp_path: Path) -> None:
    fake = FakeEndpoint(lambda body: "yes", finish=lambda body: "length" if "box 3" in json.dumps(body) else "stop")
    with fake, closing(open_calls(file_url(tmp_path / "calls.db"))) as store:
        bench = ArmBench(ROWS, ROWS, EXACT, store, Allowance(), 0)
        arm = asyncio.run(bench.measure(PROMPT, Endpoint(fake.base_url, "weights")))
    assert arm.cut == 1 / 8 and arm.score.mean > 0.9
    assert [cut for _, _, cut, _ in arm.replies] == [number == 3 for number in range(8)]
    assert Arm.from_json(json.loads(json.dumps(arm.to_json()))) == arm
