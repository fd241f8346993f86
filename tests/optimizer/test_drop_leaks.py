"""--drop-leaks: train rows that nearly equal a dev or test row are named, or are in no prompt and in no resumed run."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from distill.plan import open_recipe
from distill.settings import DistillSettings
from optimizer import SearchSettings, optimize
from optimizer.launch import data_lines
from promptstill.task.open import open_task
from tests.support.codes import RECIPE, knows_with_demos, run
from tests.support.fake import FakeEndpoint

LEAKS = 6
LEAKING = RECIPE.replace(
    "    return Recipe",
    f"""    rows = [{{**row, "split": ("train", "dev", "test")[i // 40]}} for i, row in enumerate(rows)]
    rows += [{{**row, "word": row["word"].upper() + " !", "split": "train"}} for row in rows[40:{40 + LEAKS}]]
    return Recipe""",
).replace(", split=(40, 40, 40)", "")


def settings(folder: Path, *, drop_leaks: bool, base_url: str | None = None) -> SearchSettings:
    (folder / "codes.py").write_text(LEAKING)
    return SearchSettings(
        recipe=str(folder / "codes.py"), base_url=base_url, trials=4, dspy=False, proposer="none", drop_leaks=drop_leaks
    )


def test_a_check_counts_the_leaks_and_the_option_leaves_them_out(tmp_path: Path) -> None:
    warned, dropped = (data_lines(settings(tmp_path, drop_leaks=drop).open_task()) for drop in (False, True))
    [line] = [line for line in warned if "nearly equal" in line]
    assert line.startswith(f"{LEAKS} of 46 train rows nearly equal a dev or test row: ")
    assert re.search(r": row 12(\d) \(train\) has the same inputs as row 4\1 \(dev\)\. Scores may be too high; ", line)
    assert warned[0] == "train 46, dev 40, test 40 rows" and dropped[0] == "train 40, dev 40, test 40 rows"
    assert dropped[1] == f"{LEAKS} train rows left out by --drop-leaks: nearly equal to a dev or test row"


def test_no_prompt_shows_a_leak_and_the_run_goes_on_without_them(tmp_path: Path) -> None:
    with FakeEndpoint(knows_with_demos) as fake:
        wanted = settings(tmp_path, drop_leaks=True, base_url=fake.base_url)
        result = optimize(wanted, runs=tmp_path / "runs", output=tmp_path / "best.json")
        folder = result.run.path
        argv = [sys.executable, "-m", "optimizer", "--resume", str(folder)]
        resumed = run([*argv, "--trials", "6"], tmp_path)
        refused = run([*argv, "--drop-leaks"], tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert refused.returncode == 2 and "--drop-leaks cannot change" in refused.stderr
    assert fake.bodies and not any("EVEN" in json.dumps(body) or "ODD" in json.dumps(body) for body in fake.bodies)
    best = json.loads((tmp_path / "best.json").read_text())
    assert best["splits"]["train"] == 40
    assert best["splits"]["sha256"] == open_task(str(tmp_path / "codes.py")).splits.digests()
    same = DistillSettings(from_prompt=str(tmp_path / "best.json"))
    assert len(open_recipe(best, same).splits.train) == 46, "distill has leaks of its own to look for"
