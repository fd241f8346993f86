"""`optimize --tour`: from its own record without a network, an engine or torch; from another one to the same choice."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from optimizer.run.folder import RunFolder
from optimizer.tour.record import FACTS, RECIPE, SHIPPED, Record, RecordedDistillation, write_record
from optimizer.tour.replay import replay, replay_settings
from optimizer.tour.words import meaning
from promptstill.errors import InfrastructureError
from promptstill.events import silent
from promptstill.files import read_json, write_json
from scripts.record_tour import read_calls, recorded_search
from tests.support.codes import run
from tests.support.finished import FinishedRun

MOST_BYTES = 2 * 1024**2
# Runs first in the tour's process. It stands for a base install on a machine without a network.
GUARD = """
import socket, sys
open("guarded", "w").close()
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "transformers", "vllm", "peft", "accelerate", "gguf"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
def refuse(*arguments, **options):
    print("a connection was tried", file=sys.stderr)
    raise OSError("no network")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
"""


def tour(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return run([sys.executable, "-m", "optimizer", "--tour", *options], folder, **environment)


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The tour where there is nothing but a base install."""
    folder = tmp_path_factory.mktemp("tour")
    (folder / "sitecustomize.py").write_text(GUARD)
    root = Path(__file__).parents[3]
    return folder, tour(folder, PYTHONPATH=f"{folder}:{root}", COLUMNS="80")


def test_the_tour_needs_no_network_no_engine_and_no_torch(
    taken: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    done = taken[1]
    assert done.returncode == 0, done.stderr
    assert done.stderr == "" and (taken[0] / "guarded").is_file()
    record = Record()
    assert done.stdout.startswith("REPLAY of a search and a distillation of ")
    screens = [line[:10] for line in done.stdout.splitlines() if line.startswith("REPLAY ")][1:]
    assert screens == [f"REPLAY {number}/5" for number in range(1, 6)]
    for words in ("baseline", "DSPy default", "winner over baseline:", "p = ", "unparsed", "outcome"):
        assert words in done.stdout
    assert " ".join(record.distillation.verdict.split()) in " ".join(done.stdout.replace("\n> ", " ").split())
    assert not re.search(r"^ \d+ .*…", done.stdout, re.M), "a cell of the race's table is cut"


def test_each_line_of_a_run_is_explained(taken: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    lines = [line[2:] for line in taken[1].stdout.split("From prompt to weights")[0].splitlines() if line[:2] == "> "]
    assert len(lines) >= 12
    assert [line for line in lines if not meaning(line)] == []


def test_the_run_folder_says_that_it_is_a_replay_and_repeats_the_recorded_choice(
    taken: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    (path,) = (taken[0] / "runs").iterdir()
    assert path.name.startswith("replay-qa-") and not (path / "calls.db").exists()
    page = (path / "report.html").read_text()
    assert "<title>REPLAY · qa" in page and "<h1>REPLAY · qa</h1>" in page and "This is a replay." in page
    distilled = (path / "distilled.html").read_text()
    assert "<title>REPLAY · qa" in distilled and "<h1>REPLAY · qa" in distilled and "This is a replay." in distilled
    run_folder = RunFolder(path)
    assert run_folder.prompts()["winner"].id == Record().search.winner
    assert run_folder.record["spent"]["total"]["calls"] == 0 < run_folder.record["spent"]["reused"]
    assert str(path / "report.html").removeprefix(f"{taken[0]}/") in taken[1].stdout


def test_the_record_is_small() -> None:
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) <= MOST_BYTES


def test_a_page_of_a_real_run_has_no_mark(finished_run: RunFolder) -> None:
    page = finished_run.report_path.read_text()
    assert "REPLAY" not in page and "This is a replay" not in page


@pytest.fixture
def record(finished: FinishedRun, tmp_path: Path) -> Record:
    """A record of the finished run, with no more of a distillation than its lines."""
    folder = tmp_path / "record"
    folder.mkdir()
    shutil.copy(finished.work / "codes.py", folder / RECIPE)
    distillation = RecordedDistillation(command="distill", table="arm\n", verdict="Distil.", training_rows=1, note="")
    calls = read_calls(finished.run.path / "calls.db")
    markers = finished.run.prompts()["winner"].markers
    write_record(folder, recorded_search(finished.run), distillation, calls, markers, "<html></html>")
    return Record(folder)


def test_a_replay_makes_the_choices_of_the_recorded_run_and_asks_nothing(
    record: Record, finished: FinishedRun, tmp_path: Path
) -> None:
    asked, opened = finished.fake.requests, replay_settings(record).open_task()
    results = [replay(record, opened, tmp_path / "runs", silent) for _ in range(2)]
    assert finished.fake.requests == asked
    before = finished.run.trials()
    for result in results:
        assert result.outcome.trials == before
        best = read_json(finished.run.best_path)
        assert result.best and result.best["id"] == best["id"] and result.best["prompt"] == best["prompt"]
        assert result.best["scores"] == best["scores"]
    assert len(list((tmp_path / "runs").iterdir())) == 2


def without_a_call(record: Record, versions: dict[str, str]) -> Record:
    """The record without the last of its calls, as one that was made with these versions."""
    calls = record.calls()[:-1]
    facts = record.search.model_copy(update={"versions": versions})
    markers = [token["content"] for token in read_json(record.path / "tokenizer.json")["added_tokens"]]
    write_record(record.path, facts, record.distillation, calls, markers, "")
    return Record(record.path)


def test_a_record_that_lacks_a_call_ends_the_replay_and_says_why(record: Record, tmp_path: Path) -> None:
    opened = replay_settings(record).open_task()
    with pytest.raises(InfrastructureError) as caught:
        replay(without_a_call(record, {}), opened, tmp_path / "runs")
    assert str(caught.value).splitlines() == [
        "The replay stops: the search asks for a reply that its record does not have.",
        "The search has changed since it was recorded.",
        "In a checkout, record it again: python -m scripts.record_tour",
    ]
    with pytest.raises(InfrastructureError, match=r"with optuna 4\.9 \(here \d[\d.]+\)\.\n.*pip install optuna==4\.9$"):
        replay(without_a_call(record, {"optuna": "4.9"}), opened, tmp_path / "runs")


def test_nothing_goes_on_with_a_replay(taken: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    (path,) = (taken[0] / "runs").iterdir()
    done = run([sys.executable, "-m", "optimizer", "--resume", str(path)], taken[0])
    assert done.returncode == 2 and f"{path} is a replay, not a run." in done.stderr


def test_the_tour_goes_alone(tmp_path: Path) -> None:
    done = tour(tmp_path, "--model", "other", "recipes/qa.py")
    assert done.returncode == 2 and not list(tmp_path.iterdir())
    assert done.stderr.splitlines()[:2] == [
        "error: --tour goes alone, not with --model, the recipe.",
        "It replays one recorded search, as it was.",
    ]


def test_a_record_says_what_it_lacks(record: Record) -> None:
    facts = read_json(record.path / FACTS)
    del facts["search"]["winner"]
    write_json(record.path / FACTS, facts)
    with pytest.raises(ValueError, match="winner"):
        Record(record.path)


def test_the_readme_shows_what_the_tour_prints(taken: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    section = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8").split("## Reading the verdict")[1]
    shown = section.split("```text\n")[1].split("```")[0].splitlines()
    printed = {" ".join(line.removeprefix("> ").split()) for line in taken[1].stdout.splitlines()}
    assert [line for line in shown[1:] if " ".join(line.split()) not in printed and line] == []
    verdict = "(+21.5 points, 95 % interval +9.5 to +33.0). It needs 90% fewer prompt tokens"
    assert verdict in section and verdict in " ".join(taken[1].stdout.replace("\n> ", " ").split())
    arms = re.findall(r"^ (?:base|student|gold-label student)\b\D+ ([\d.]+)", taken[1].stdout, re.MULTILINE)
    assert len(arms) == 4 and all(f"({score}" in section for score in arms)
