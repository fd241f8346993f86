"""A disk that fills up under a run: a clear message, no score lost or false, and the run goes on once there is room."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.codes import best, command, knows_with_demos, run
from tests.support.fake import FakeEndpoint
from tests.support.finished import FinishedRun


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a tmpfs can only be mounted by root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def undisturbed(finished: FinishedRun) -> dict[str, Any]:
    """best.json of a run that no disk stopped."""
    return best(finished.work)


def resize(folder: Path, kib: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={kib}k", str(folder)], check=True)


@pytest.mark.parametrize("kib", [24, 200, 800])
def test_a_disk_that_fills_up_stops_the_run_and_loses_nothing(
    kib: int, small_disk: Path, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    with FakeEndpoint(knows_with_demos) as fake:
        resize(small_disk, kib)
        argv = command(fake, tmp_path, "--runs", str(small_disk))
        full = run(argv, tmp_path)
        assert full.returncode == 1 and "Traceback" not in full.stderr, full.stderr
        assert "No space left" in full.stderr or "disk" in full.stderr
        resize(small_disk, 20_000)
        started = [path.parent for path in small_disk.glob("*/run.json")]
        again = [sys.executable, "-m", "optimizer", "--resume", str(started[0])] if started else argv
        done = run(again, tmp_path)
    assert done.returncode == 0, done.stderr
    assert best(tmp_path)["id"] == undisturbed["id"]
    after, before = best(tmp_path)["scores"]["test"], undisturbed["scores"]["test"]
    assert after["gains"] == before["gains"]
    assert all(after[arm]["score"] == before[arm]["score"] for arm in ("baseline", "dspy", "winner"))
