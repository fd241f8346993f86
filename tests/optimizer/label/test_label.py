"""`optimize --label-next N`: rows on which a run's candidates differ come first, and nothing is asked twice."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from optimizer.label.committee import MEMBERS, find_committee
from optimizer.run.folder import RunFolder
from promptstill.command.exits import run_async
from promptstill.endpoint.allowance import Allowance
from promptstill.endpoint.client import Client
from promptstill.endpoint.endpoint import Endpoint
from promptstill.endpoint.stores import MEMORY, open_calls
from promptstill.engine.models import Model
from promptstill.files import digest, file_digest
from promptstill.task.open import open_task
from tests.support.codes import RECIPE, command, run
from tests.support.fake import Body, FakeEndpoint
from tests.support.finished import copied

ROWS, HARD = 40, 8
UNLABELLED = RECIPE.replace(
    "    return Recipe(",
    '    rows += [{"word": f"w{i} {\'hard\' if i % 5 == 0 else \'easy\'} {i}", "note": i} for i in range(500, 540)]\n'
    "    return Recipe(",
)


def differs_on_hard(body: Body) -> str:
    """Of a hard word the code depends on the prompt, of an easy one not. Of others it is right, for one in eight only
    with demos."""
    shown, _, asked = str(body["messages"][-1]["content"]).rpartition("w")
    if "hard" in asked:
        return f"c{int(digest(shown), 16) % 5}"
    right = "c1" if "odd" in asked else "c0"
    return right if "easy" in asked or "c0" in shown or int(digest(asked), 16) % 8 else "c?"


@dataclass(frozen=True)
class Searched:
    """A run of a recipe that has unlabelled rows, the endpoint that it asked, and what it said."""

    work: Path
    fake: FakeEndpoint
    done: subprocess.CompletedProcess[str]

    @property
    def run(self) -> RunFolder:
        return RunFolder(next((self.work / "runs").iterdir()))

    def label(self, *words: object) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "optimizer", "--label-next", *map(str, words)]
        return run(argv, self.work)

    def to_label(self, name: str = "label-next.jsonl") -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.work / name).read_text().splitlines()]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Searched]:
    folder = tmp_path_factory.mktemp("label")
    with FakeEndpoint(differs_on_hard) as fake:
        argv = command(fake, folder, "--proposals", "0", "--layout", "raw", "--trials", "8")
        (folder / "codes.py").write_text(UNLABELLED)
        done = run(argv, folder)
        assert done.returncode == 0, done.stderr
        yield Searched(folder, fake, done)


@pytest.fixture
def unasked(searched: Searched, tmp_path: Path) -> RunFolder:
    """A copy of the run, made before its unlabelled rows were asked."""
    return copied(searched.run, tmp_path)


def files_of(folder: RunFolder) -> dict[str, str]:
    """The digest of each file but for the calls."""
    files = (path for path in folder.path.rglob("*") if path.is_file() and not path.name.startswith("calls.db"))
    return {str(path.relative_to(folder.path)): file_digest(path) for path in files}


def test_the_end_of_a_run_with_an_open_question_names_the_command(searched: Searched) -> None:
    said = searched.done.stdout
    assert "would settle it" in said or "settle it in" in said, said
    assert f"--label-next 20 runs/{searched.run.path.name}" in said and "\nlabel next   " in said


def test_a_limit_leaves_whole_rows(searched: Searched, unasked: RunFolder) -> None:
    before = searched.fake.requests
    done = searched.label(5, unasked.path, "--max-calls", 60, "-o", "few.jsonl", "--window", 4)
    assert done.returncode == 0, done.stderr
    assert searched.fake.requests - before == 60
    assert f"--max-calls 60 is reached: {60 // MEMBERS} rows were asked" in done.stdout
    none = searched.label(5, unasked.path, "--max-calls", 1, "-o", "few.jsonl")
    assert none.returncode == 0 and searched.fake.requests - before == 61, "what is stored counts under no limit"


def test_rows_on_which_candidates_differ_come_first_and_a_second_call_asks_nothing(
    searched: Searched, unasked: RunFolder
) -> None:
    before, files = searched.fake.requests, files_of(unasked)
    done = searched.label(HARD, unasked.path)
    assert done.returncode == 0, done.stderr
    asked = ROWS * MEMBERS
    assert f"asking the run's 5 best candidates {ROWS} unlabelled rows: {asked} calls, 0 stored already" in done.stderr
    assert searched.fake.requests - before == asked
    rows = searched.to_label()
    assert len(rows) == HARD and all("hard" in str(row["word"]) for row in rows)
    assert all(row["code"] is None and row["note"] for row in rows), "the row is as it was, with a place for its output"
    assert f"the candidates agree on the other {ROWS - HARD} rows" in done.stdout
    assert len(re.findall(r"^row \d+: w\d+ hard \d+\n    c\d \(\d\), c\d \(\d\)", done.stdout, re.MULTILINE)) == HARD
    assert f"optimize codes.py --base-url {searched.fake.base_url}" in done.stdout
    again = searched.label(HARD, unasked.path)
    assert again.stdout == done.stdout and searched.fake.requests - before == asked
    assert files_of(unasked) == files, "of the run calls.db alone has changed"
    more = searched.label(HARD + 1, unasked.path)
    assert f"{HARD} rows to label" in more.stdout, "rows on which all agree are not listed"


def test_rows_of_a_file_are_taken_instead_of_the_recipe_s(searched: Searched, unasked: RunFolder) -> None:
    (searched.work / "more.csv").write_text("word,code\nw700 easy 1,\nw701 hard 2,\nw702 hard 3,c1\nw0 even 0,\n")
    before = searched.fake.requests
    done = searched.label(9, unasked.path, "--from", "more.csv", "-o", "more.jsonl")
    assert done.returncode == 0, done.stderr
    assert searched.fake.requests - before == 2 * MEMBERS, "a row with a label is not asked, here or in the recipe"
    assert searched.to_label("more.jsonl") == [{"word": "w701 hard 2", "code": None}]
    assert "more.csv, line 3: w701 hard 2" in done.stdout
    (searched.work / "easy.csv").write_text("word\nw800 easy 1\n")
    done = searched.label(9, unasked.path, "--from", "easy.csv", "-o", "easy.jsonl")
    assert "The candidates agree on every row (1 asked)" in done.stdout and not (searched.work / "easy.jsonl").exists()


def test_the_candidates_are_the_best_trials_as_the_search_asked_them(searched: Searched) -> None:
    committee = find_committee(searched.run)
    settings = searched.run.settings()
    endpoint = Endpoint(searched.fake.base_url, "fake")

    async def prompt_ids() -> list[str]:
        async with Client(endpoint, open_calls(MEMORY), Allowance()) as client:
            opened = open_task(str(searched.work / "codes.py"))
            prompts = await committee.prompts(opened, settings, Model("fake", "fake", None), client)
            return [prompt.id for prompt in prompts]

    ids = run_async(prompt_ids())
    assert ids == [trial.prompt_id for trial in committee.trials] and len(set(ids)) == MEMBERS


def refused(searched: Searched, *words: object) -> str:
    before = searched.fake.requests
    done = searched.label(5, *words)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert searched.fake.requests == before, "a mistake is named before any call"
    return done.stderr


def test_what_it_cannot_take_is_refused_with_the_way_out(searched: Searched, unasked: RunFolder) -> None:
    name = searched.run.path.name
    for words in ((), ("codes.py",), ("codes.py:codes",), ("best.json",)):
        said = refused(searched, *words)
        assert "takes one run folder" in said and f"--label-next 5 runs/{name}" in said
    assert "does not go with --trials" in refused(searched, unasked.path, "--trials", "3")
    assert "is no run folder" in refused(searched, "runs")
    (searched.work / "labelled.jsonl").write_text('{"word": "w900", "code": "c1"}\n')
    said = refused(searched, unasked.path, "--from", "labelled.jsonl")
    assert "labelled.jsonl has no unlabelled row" in said and "null" in said
    assert "labelled.jsonl is there" in refused(searched, unasked.path, "-o", "labelled.jsonl")
    unasked.note(replay={})
    assert "is a replay" in refused(searched, unasked.path)


def test_a_run_of_another_kind_or_of_other_rows_is_refused(searched: Searched, unasked: RunFolder) -> None:
    (searched.work / "other.py").write_text(UNLABELLED.replace("range(120)", "range(121)"))
    settings = unasked.settings().to_json() | {"recipe": "other.py"}
    unasked.note(settings=settings)
    assert "has changed since" in refused(searched, unasked.path)
    unasked.note(settings=settings | {"recipe": "codes.py"})
    lines = unasked.trials_path.read_text().splitlines(keepends=True)
    unasked.trials_path.write_text(lines[0])
    assert "has one candidate so far" in refused(searched, unasked.path)
    unasked.note(kind="measure")
    assert "is a measurement" in refused(searched, unasked.path)
