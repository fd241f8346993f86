"""An endpoint that fails now and then: the search comes to the same prompt as at one that does not."""

from __future__ import annotations

import random
from pathlib import Path

from optimizer import SearchSettings, optimize
from optimizer.run.result import RunResult
from tests.support.codes import RECIPE, knows_with_demos
from tests.support.fake import CUT, FakeEndpoint


def search(folder: Path, *, faults: bool) -> tuple[RunResult, int, int]:
    """The run, the requests that the endpoint got, and those that it failed."""
    folder.mkdir()
    (folder / "codes.py").write_text(RECIPE)
    chance, failed = random.Random(0), [0]

    def status(number: int) -> int | None:
        drawn = chance.random()
        found = 500 if drawn < 0.05 else CUT if drawn < 0.07 else None
        failed[0] += found is not None
        return found

    def loses(number: int) -> bool:
        lost = chance.random() < 0.03
        failed[0] += lost
        return lost

    with FakeEndpoint(knows_with_demos) as fake:
        if faults:
            fake.misbehave, fake.loses = status, loses
        settings = SearchSettings(recipe=str(folder / "codes.py"), base_url=fake.base_url, trials=12, rivals=False)
        result = optimize(settings, runs=folder / "runs", output=None)
        return result, fake.requests, failed[0]


def test_random_faults_change_nothing_of_what_is_found(tmp_path: Path) -> None:
    plain, requests, _ = search(tmp_path / "plain", faults=False)
    faulty, more, failed = search(tmp_path / "faulty", faults=True)
    best, same = faulty.best or {}, plain.best or {}
    assert failed > 20 and more == requests + failed, "each failed request is asked once more"
    assert best["id"] == same["id"] and best["scores"]["dev"] == same["scores"]["dev"]
    assert best["scores"]["test"]["gains"] == same["scores"]["test"]["gains"]
    assert best["search"]["spent"]["total"] == same["search"]["spent"]["total"], "a failed request is not paid for"
