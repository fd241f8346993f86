"""The contest: a cell of ours and of a peer against a fake endpoint, the choice of the best so far, the report."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import ablations, cells, contest, endpoint
from benchmarks.arena import Arena
from benchmarks.contestants import Candidate, best_so_far, improved, last_words, points
from benchmarks.proxy import Account, Spent
from benchmarks.tasks import TASKS, BenchTask, lay_out, mark
from tests.fake import FakeEndpoint
from tests.test_optimize import RECIPE, knows_with_demos

CAPS = (110, 220)


@pytest.fixture
def task(tmp_path: Path) -> BenchTask:
    recipe = tmp_path / "codes.py"
    code = RECIPE.replace("def codes() -> Recipe:", 'def codes(data: str = "rows.jsonl") -> Recipe:')
    code = code.replace("import Recipe,", "import Recipe, read_jsonl,").replace("    rows = [", "    made = [")
    code = code.replace("    return Recipe(", "    rows = read_jsonl(data)\n    return Recipe(")
    recipe.write_text(code)
    rows = [{"word": f"w{i} {'even' if i % 2 == 0 else 'odd'} {i % 7}", "code": f"c{i % 2}"} for i in range(120)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return BenchTask("codes", recipe, tmp_path / "rows.jsonl", (40, 40, 40), (30, 20, 30))


@pytest.fixture
def arena_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    def made(fake: FakeEndpoint) -> Arena:
        monkeypatch.setenv("BENCH_BASE_URL", fake.base_url)
        monkeypatch.setenv("BENCH_MODEL", "fake")
        return Arena(tmp_path / "results", fast=True)

    return made


def knows(body: dict[str, Any]) -> str:
    """As the fake of optimize's tests; proposals are sentences, so that no try fails for them."""
    return "Say the code of it, please." if body.get("temperature") else knows_with_demos(body)


@pytest.mark.parametrize("name", ["ours", "bootstrap"])
def test_a_searcher_fills_a_cell_for_each_cap_and_a_second_run_asks_nothing(
    name: str, task: BenchTask, arena_of: Any, tmp_path: Path
) -> None:
    with FakeEndpoint(knows) as fake:
        with arena_of(fake) as arena:
            contest.measure(arena, contest.Entry(task, "predict", 0), CAPS)
            contest.measure(arena, contest.Entry(task, name, 0), CAPS)
        asked = len(fake.bodies)
        with arena_of(fake) as arena:
            contest.measure(arena, contest.Entry(task, name, 0), CAPS)
            contest.measure(arena, contest.Entry(task, name, 0), CAPS[:1])
        assert len(fake.bodies) == asked, "a search is known at each of its caps"
        (tmp_path / "results" / "searches.jsonl").unlink()
        with arena_of(fake) as arena:
            contest.measure(arena, contest.Entry(task, name, 0), CAPS)
        assert len(fake.bodies) == asked, "its cells alone are enough: the searches are not kept with them"
    records = cells.read("contest", tmp_path / "results")
    assert [record["key"]["cap"] for record in records] == [0, *CAPS]
    bare, *found = [record["result"] for record in records]
    for cap, result in zip(CAPS, found, strict=True):
        assert 0 < result["calls"] <= cap and result["prompt_tokens"] > 0 and not result["failed"]
        assert len(result["test"]["scores"]) == 30
        assert result["test"]["mean"] == pytest.approx(sum(result["test"]["scores"]) / 30, abs=1e-4)
    assert found[-1]["test"]["mean"] > bare["test"]["mean"], "demos help on this task, and each of the two uses them"
    said = contest.section(records)
    assert "### codes, rows 30/20/30, fake" in said and "| 110 calls | 220 calls |" in said


def test_two_that_ask_for_one_reading_at_once_measure_it_once(arena_of: Any, tmp_path: Path) -> None:
    began = threading.Event()

    def slow() -> dict[str, Any]:
        assert not began.is_set(), "measured by both"
        began.set()
        time.sleep(0.2)
        return {"n": 1}

    with FakeEndpoint(knows) as fake, arena_of(fake) as arena, ThreadPoolExecutor(3) as pool:
        both = [pool.submit(arena.kept, "readings", {"program": "p"}, slow) for _ in range(2)]
        other = pool.submit(arena.kept, "readings", {"program": "q"}, lambda: {"n": int(not both[0].done())})
        assert [one.result() for one in both] == [{"n": 1}, {"n": 1}]
        assert other.result() == {"n": 1}, "another reading does not wait for it"
    assert len(cells.read("readings", tmp_path / "results")) == 2


def test_arenas_share_one_engine_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    running: list[str] = []
    dead: list[str] = []

    @contextmanager
    def engine(*_: object) -> Iterator[Any]:
        running.append("started")
        yield SimpleNamespace(base_url=f"http://127.0.0.1:1/{len(running)}", alive=lambda: not dead)
        running.append("ended")

    monkeypatch.delenv("BENCH_BASE_URL", raising=False)
    monkeypatch.setattr("optimizer.engine.running", engine)
    monkeypatch.setattr("optimizer.models.resolve", lambda *_: None)
    with endpoint.sharing():
        for _ in range(2):
            with Arena(tmp_path, fast=True) as arena:
                assert arena.proxy and running == ["started"]
    assert running == ["started", "ended"]
    for _ in range(2):
        with Arena(tmp_path, fast=True) as arena:
            assert arena.proxy
    assert running == 3 * ["started", "ended"]
    with Arena(tmp_path, fast=True):
        pass
    assert running == 3 * ["started", "ended"], "none where no cell needs one"
    with endpoint.sharing():
        for _ in range(2):
            with Arena(tmp_path, fast=True) as arena:
                assert arena.proxy
            dead.append("by the first part")
    assert running == 5 * ["started", "ended"], "a later part does not pay for an engine that died in an earlier one"


def test_where_the_endpoint_goes_nothing_is_stored_as_a_peers_failure(
    task: BenchTask, arena_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_LIMIT_S", "10")  # it would ask again for longer
    with FakeEndpoint(knows) as fake:
        arena = arena_of(fake)
    with arena, pytest.raises(RuntimeError, match="the endpoint has gone"):
        contest.measure(arena, contest.Entry(task, "mipro", 0), CAPS)
    assert not cells.read("contest", tmp_path / "results") and not cells.read("searches", tmp_path / "results")


def test_variants_of_ours_end_at_the_cap_and_one_has_no_demos(task: BenchTask, arena_of: Any, tmp_path: Path) -> None:
    with FakeEndpoint(knows) as fake, arena_of(fake) as arena:
        found = {name: arena.ours(task, 0, CAPS, name, ablations.VARIANTS[name]) for name in ("no-demos", "random")}
    for name, result in found.items():
        assert [point["cap"] for point in result["points"]] == list(CAPS)
        assert all(0 < point["calls"] <= point["cap"] for point in result["points"]), name
    bare = found["no-demos"]["points"][-1]["program"]["prompt"]
    assert bare["nearest"] is None or bare["nearest"]["k"] == 0
    assert "c0" not in json.dumps(bare["fixed"])
    assert found["random"]["points"][-1]["dev"] > 0, "starters with demos are right sometimes"


def test_our_own_command_sees_no_test_row_but_one(task: BenchTask, tmp_path: Path) -> None:
    field = lay_out(task, task.fast, tmp_path / "laid")
    rows = [json.loads(line) for line in field.search_path.read_text().splitlines()]
    assert [row["split"] for row in rows].count("test") == 1
    prepared = field.prepared("fake")
    assert [len(getattr(prepared.splits, name)) for name in ("train", "dev", "test")] == [30, 20, 30]
    again = lay_out(task, task.fast, tmp_path / "again")
    assert again.rows_path.read_bytes() == field.rows_path.read_bytes()


def test_an_answer_is_marked_by_the_recipes_metric_and_none_is_unparsed(task: BenchTask, tmp_path: Path) -> None:
    prepared = lay_out(task, task.fast, tmp_path / "laid").prepared("fake")
    row = prepared.splits.test[0]
    assert mark(prepared, row, row.outputs).score == 1.0
    wrong, absent, empty = mark(prepared, row, {"code": "c9"}), mark(prepared, row, {}), mark(prepared, row, None)
    assert (wrong.score, wrong.unparsed) == (0.0, False)
    assert absent.unparsed and empty.unparsed and empty.score == absent.score == 0.0


def test_a_date_of_a_peer_is_compared_as_the_text_that_rows_hold(tmp_path: Path) -> None:
    from datetime import date

    extract = next(task for task in TASKS if task.name == "extract")
    prepared = lay_out(extract, extract.fast, tmp_path).prepared("fake")
    row = prepared.splits.test[0]
    typed = {**row.outputs, "issued": date.fromisoformat(row.outputs["issued"])}
    assert mark(prepared, row, typed).score == 1.0


def candidate(name: str, dev: float, rows: int, calls: int) -> Candidate:
    return Candidate({"kind": "dspy", "state": name}, dev, rows, calls)


def test_the_best_so_far_is_scored_on_enough_rows_within_the_calls() -> None:
    found = [
        candidate("begun", 0.0, 0, 0),
        candidate("few", 1.0, 3, 10),
        candidate("first", 0.4, 20, 50),
        candidate("lucky", 0.9, 35, 90),
        candidate("lucky", 0.3, 100, 200),
        candidate("late", 0.8, 100, 400),
    ]
    names = {calls: (best := best_so_far(found, calls)) and best.program["state"] for calls in (20, 60, 100, 300, 500)}
    assert names == {20: "begun", 60: "first", 100: "lucky", 300: "first", 500: "late"}
    assert best_so_far([], 100) is None


@pytest.mark.parametrize(
    ("dev", "better"),
    [({"begun": 0.2, "next": 0.3}, True), ({"begun": 0.2, "next": 0.2}, False), ({"next": 0.0}, False)],
)
def test_a_try_counts_where_it_ends_better_than_it_began(dev: dict[str, float], better: bool) -> None:
    scored = [candidate(name, score, 40, 50) for name, score in dev.items()]
    assert improved([candidate("begun", 0.0, 0, 0), *scored]) is better
    assert not improved([])


def test_a_peers_last_words_are_its_error_and_no_code_that_the_model_wrote(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("dspy.AdapterParseError: no JSON\n\nLM Response: \nclass OddError(Exception):\n    pass\n\n")
    assert last_words(log, 1) == "dspy.AdapterParseError: no JSON"
    log.write_text("it ended\n\n")
    assert last_words(log, 1) == "it ended"
    log.write_text("")
    assert last_words(log, 7) == "exit code 7"


def test_what_a_peer_returned_counts_from_the_cap_by_which_it_was_done() -> None:
    account = Account(marks=(100,), spent=Spent(150, 9, 9, 3.0), passed={100: Spent(100, 6, 6, 2.0)})
    final = {"kind": "dspy", "state": "returned"}
    early, late = points(account, (100, 200), [candidate("begun", 0, 0, 0), candidate("first", 0.4, 20, 50)], final)
    assert early.program is not None and early.program["state"] == "first" and early.calls == 100
    assert late.program == final and late.calls == 150 and late.dev == 0.4
    assert (early.done, late.done) == (False, True)
    account.refused = 1
    (tainted,) = points(account, (200,), [candidate("begun", 0, 0, 0), candidate("first", 0.4, 20, 50)], final)
    assert not tainted.done and tainted.program != final, "a refused call must not become a result"


def test_a_peer_that_was_done_within_a_cap_is_not_run_again_for_a_larger_one(
    task: BenchTask, arena_of: Any, tmp_path: Path
) -> None:
    with FakeEndpoint(knows) as fake:
        with arena_of(fake) as arena:
            contest.measure(arena, contest.Entry(task, "bootstrap", 0), (110, 2_000))
        asked = len(fake.bodies)
        with arena_of(fake) as arena:
            contest.measure(arena, contest.Entry(task, "bootstrap", 0), (110, 2_000, 4_000, 8_000))
        assert len(fake.bodies) == asked
    found = [(one["key"]["cap"], one["result"]) for one in cells.read("contest", tmp_path / "results")]
    assert [(cap, one["cap"], one["done"]) for cap, one in found] == [
        (110, 110, False),
        *((cap, cap, True) for cap in (2_000, 4_000, 8_000)),
    ]
    assert len({(one["calls"], str(one["test"])) for _, one in found[1:]}) == 1
