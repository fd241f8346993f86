"""What the recipes measure: seed, DSPy's default, winner and student, each recipe run from end to end.

    python -m benchmarks.recipes [NAME...]

Runs `optimize` and `distill` for every recipe that the embedded model can do (or those named), in runs/recipes/NAME,
and writes the table in recipes/README.md from their artifacts. What a folder has already is not run again, so a killed
bench goes on; remove the folder to measure anew.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path("runs") / "recipes"
README = Path(__file__).parents[1] / "recipes" / "README.md"
MEASURED = ("qa", "tickets", "extract", "math")
BEGIN, END = "<!-- measured: python -m benchmarks.recipes -->", "<!-- end of measured -->"
COLUMNS = ("recipe", "test rows", "seed prompt", "DSPy default", "winner", "over seed", "over DSPy default",
           "student", "gold-label student", "--seed", "date")  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """A recipe's best.json and verdict.json; the latter is None where the prompt was not distilled."""

    name: str
    best: Mapping[str, Any]
    verdict: Mapping[str, Any] | None


def main() -> None:
    names = sys.argv[1:] or MEASURED
    failed = [name for name in names if not run(name)]
    write(README, table([found for name in MEASURED if (found := read(FOLDER / name))]))
    print(f"table  {README}")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def run(name: str) -> bool:
    """Optimize and distill one recipe, as far as that is not done; whether both ended well."""
    folder = FOLDER / name
    best, distilled = folder / "best.json", folder / "distilled"
    folder.mkdir(parents=True, exist_ok=True)
    if not best.is_file():
        begun = sorted(path.parent for path in folder.glob("*/run.json"))
        how = ["--resume", str(begun[-1])] if begun else [f"recipes/{name}.py", "--runs", str(folder)]
        if not command("optimizer", *how, "-o", str(best)):
            return False
    if not (distilled / "verdict.json").is_file():
        how = ["--resume", str(distilled)] if distilled.is_dir() else ["--from-prompt", str(best), "-o", str(distilled)]
        return command("distill", *how)
    return True


def command(module: str, *arguments: str) -> bool:
    """One of our commands, its lines shown; whether it ended well."""
    print(f"\n$ python -m {module} {' '.join(arguments)}", flush=True)
    return subprocess.run([sys.executable, "-m", module, *arguments], check=False).returncode == 0


def read(folder: Path) -> Measured | None:
    """What a folder has measured, if anything."""
    best, verdict = folder / "best.json", folder / "distilled" / "verdict.json"
    if not best.is_file():
        return None
    told = json.loads(verdict.read_text(encoding="utf-8")) if verdict.is_file() else None
    return Measured(folder.name, json.loads(best.read_text(encoding="utf-8")), told)


def table(measured: Sequence[Measured]) -> str:
    """The Markdown table, scores with their 95 % intervals."""
    return "\n".join([row(COLUMNS), "|---" * len(COLUMNS) + "|", *map(line, measured)])


def line(one: Measured) -> str:
    test = one.best["scores"]["test"]
    arms = one.verdict["arms"] if one.verdict else {}
    students = [arms.get(name, {}).get("score") for name in ("student + bare prompt", "gold-label student")]
    cells = [f"`{one.name}.py`", str(test["winner"]["score"]["n"])]
    cells += [score(test[arm]["score"]) for arm in ("seed", "dspy", "winner")]
    cells += [score(test["gains"][over], "+") for over in ("over_seed", "over_dspy")]
    cells += [score(student) if student else "not measured" for student in students]
    cells += [str(one.best["search"]["seed"]), one.best["created_at"][:10]]
    return row(cells)


def row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def score(one: Mapping[str, float], sign: str = "") -> str:
    """A mean and its interval in points."""
    mean, low, high = (format(100 * one[key], f"{sign}.1f") for key in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"


def write(path: Path, text: str) -> None:
    """Put `text` between the marks of a page, in place of what stood there."""
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
