"""Who may read a run's files, and that the key to the endpoint is in none of them."""

from __future__ import annotations

from pathlib import Path

from optimizer import SearchSettings, optimize
from optimizer.report.compare import compare_runs
from promptstill.events import Event, StepStarted
from tests.support.codes import RECIPE, command, knows_with_demos, run
from tests.support.fake import FakeEndpoint

KEY = "sk-sesame-0123456789"
# Every file of a run folder. The private ones hold rows or replies; the others are code, locks, or handed on.
PRIVATE = {
    *("run.json", "pools.json", "prompts.json", "trials.jsonl", "test.jsonl", "report.html"),
    *("calls.db", "study.log"),
}
SHARED = {"recipe.py", "best.json", "logs/run.lock", "logs/worker-0.lock"}
DURING = {"calls.db-wal", "calls.db-shm"}  # SQLite's, while the run works


def modes(folder: Path) -> dict[str, int]:
    """The mode of each file, by its path in the folder."""
    return {str(path.relative_to(folder)): path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()}


def settings(folder: Path, fake: FakeEndpoint) -> SearchSettings:
    (folder / "codes.py").write_text(RECIPE)
    return SearchSettings(
        recipe=str(folder / "codes.py"), base_url=fake.base_url, trials=3, dspy=False, proposer="none"
    )


def test_rows_and_replies_are_their_owners_alone_and_the_rest_follows_the_umask(tmp_path: Path, umask: int) -> None:
    during: list[dict[str, int]] = []

    def listen(event: Event) -> None:
        if isinstance(event, StepStarted):
            during.append(modes(next((tmp_path / "runs").iterdir())))

    with FakeEndpoint(knows_with_demos) as fake:
        result = optimize(settings(tmp_path, fake), runs=tmp_path / "runs", output=tmp_path / "o.json", listener=listen)
    folder = result.run.path
    compare_runs([folder, folder], tmp_path / "compare.html")
    assert modes(folder) == dict.fromkeys(PRIVATE, 0o600) | dict.fromkeys(SHARED, 0o666 & ~umask)
    assert {name: mode for name, mode in during[-1].items() if name in DURING} == dict.fromkeys(DURING, 0o600)
    assert (tmp_path / "o.json").stat().st_mode & 0o777 == 0o666 & ~umask
    assert (tmp_path / "compare.html").stat().st_mode & 0o777 == 0o600


def test_the_key_to_an_endpoint_is_neither_stored_nor_printed(tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos, key=KEY) as fake:
        argv = command(fake, tmp_path, "--api-key-env", "MY_KEY", "--trials", "2", "--no-dspy", "--proposer", "none")
        done = run(argv, tmp_path, MY_KEY=KEY)
        fake.key = "another"
        refused = run(argv, tmp_path, MY_KEY=KEY)
    assert (done.returncode, refused.returncode) == (0, 2), done.stderr
    assert "refused the API key" in refused.stderr
    printed = done.stdout + done.stderr + refused.stdout + refused.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert KEY not in printed and len(files) > len(PRIVATE)
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []
