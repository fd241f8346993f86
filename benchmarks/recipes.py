"""What the recipes measure: seed, DSPy's default, winner and student, each recipe run from end to end.

    python -m benchmarks.recipes [--prompts] [NAME...]

Runs `optimize` and `distill` for every recipe that the embedded model can do (or those named; with --prompts `optimize`
alone), in runs/recipes/NAME, keeps what they measured in benchmarks/results/recipes.jsonl, and writes the table in
recipes/README.md from there. What is kept is not measured again, so a killed bench goes on: delete its line, and the
folder, to measure anew.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cells import RESULTS, cell, read
from benchmarks.readme import put

FOLDER = Path("runs") / "recipes"
README = Path(__file__).parents[1] / "recipes" / "README.md"
PART, PROMPT, STUDENT = "recipes", "prompt", "student"
MEASURED = ("qa", "tickets", "extract", "math")
DISTILLED_WITH = {"extract": ("--gold",)}  # where the embedded teacher is too seldom right
ARMS = {"student + bare prompt": "student", "gold-label student": "gold-label student"}
COMMAND = "python -m benchmarks.recipes"
COLUMNS = ("recipe", "test rows", "seed prompt", "DSPy default", "winner", "over seed", "over DSPy default",
           *ARMS.values(), "--seed", "date")  # fmt: skip


class Failed(Exception):
    """A command of ours that ended badly; it has said why."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recipes")
    parser.add_argument("--prompts", action="store_true", help="train no students")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MEASURED)}")
    options = parser.parse_args()
    failed = [name for name in options.names or MEASURED if not measure(name, students=not options.prompts)]
    put(README, COMMAND, table(RESULTS))
    print(f"table  {README}")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def measure(name: str, *, students: bool) -> bool:
    """Fill a recipe's cells; whether its commands ended well."""
    try:
        cell(PART, {"recipe": name, "what": PROMPT}, lambda: optimize(name))
        if students:
            cell(PART, {"recipe": name, "what": STUDENT}, lambda: distill(name))
    except Failed:
        return False
    return True


def optimize(name: str) -> dict[str, Any]:
    """Search the recipe's prompt, as far as its folder has none; what was read on test."""
    folder = FOLDER / name
    best = folder / "best.json"
    folder.mkdir(parents=True, exist_ok=True)
    if not best.is_file():
        begun = sorted(path.parent for path in folder.glob("*/run.json"))
        how = ["--resume", str(begun[-1])] if begun else [f"recipes/{name}.py", "--runs", str(folder)]
        command("optimizer", *how, "-o", str(best))
    made = json.loads(best.read_text(encoding="utf-8"))
    return {"test": made["scores"]["test"], "seed": made["search"]["seed"], "made": made["created_at"]}


def distill(name: str) -> dict[str, Any]:
    """Train the recipe's student, as far as its folder has none; the scores of the arms on test."""
    best, distilled, options = FOLDER / name / "best.json", FOLDER / name / "distilled", DISTILLED_WITH.get(name, ())
    if not best.is_file():
        optimize(name)
    if not (distilled / "verdict.json").is_file():
        anew = ["--from-prompt", str(best), "-o", str(distilled), *options]
        command("distill", *(["--resume", str(distilled)] if distilled.is_dir() else anew))
    verdict = json.loads((distilled / "verdict.json").read_text(encoding="utf-8"))
    arms = {arm: told["score"] for arm, told in verdict["arms"].items()}
    return {"arms": arms, "sentence": verdict["sentence"], "options": list(options)}


def command(module: str, *arguments: str) -> None:
    """One of our commands, its lines shown. Raises `Failed`."""
    print(f"\n$ python -m {module} {' '.join(arguments)}", flush=True)
    if subprocess.run([sys.executable, "-m", module, *arguments], check=False).returncode:
        raise Failed


def table(folder: Path) -> str:
    """The Markdown table of what is kept in `folder`, scores with their 95 % intervals."""
    kept = {(record["key"]["recipe"], record["key"]["what"]): record["result"] for record in read(PART, folder)}
    lines = [line(name, kept[name, PROMPT], kept.get((name, STUDENT))) for name in MEASURED if (name, PROMPT) in kept]
    return "\n".join([row(COLUMNS), "|---" * len(COLUMNS) + "|", *lines])


def line(name: str, prompt: Mapping[str, Any], student: Mapping[str, Any] | None) -> str:
    test = prompt["test"]
    cells = [f"`{name}.py`", str(test["winner"]["score"]["n"])]
    cells += [score(test[arm]["score"]) for arm in ("seed", "dspy", "winner")]
    cells += [score(test["gains"][over], "+") for over in ("over_seed", "over_dspy")]
    arms = student["arms"] if student else {}
    students = [score(arms[arm]) if arm in arms else "not measured" for arm in ARMS]
    if student and student.get("options"):
        students[0] += f" with `{' '.join(student['options'])}`"
    cells += students
    return row([*cells, str(prompt["seed"]), prompt["made"][:10]])


def row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def score(one: Mapping[str, float], sign: str = "") -> str:
    """A mean and its interval in points."""
    mean, low, high = (format(100 * one[key], f"{sign}.1f") for key in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"


if __name__ == "__main__":
    main()
