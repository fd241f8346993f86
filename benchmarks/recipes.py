"""What the recipes measure: baseline, DSPy's default, winner and student, each recipe run from end to end.

    python -m benchmarks.recipes [--prompts] [NAME...]

Runs `optimize` and `distill` in runs/recipes/NAME for every recipe that the embedded model can do, or for those named;
with --prompts `optimize` alone. Stores what they measured in benchmarks/results/recipes.jsonl, and writes the tables in
recipes/README.md, README.md and docs/fine-tuning-or-prompting.md from it. Stored cells are not measured again, so a
killed bench goes on: to measure anew, delete the line, and the folder.
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
from benchmarks.question import GOLD, STUDENT, Comparison, comparison_table, short_table
from benchmarks.readme import ROOT, replace_table

FOLDER = Path("runs") / "recipes"
PART, PROMPT, TRAINED = "recipes", "prompt", "student"
MEASURED = ("sentiment", "qa", "tickets", "extract", "math")
DISTILL_OPTIONS = {"extract": ("--gold",)}  # the embedded teacher is seldom right there
ARMS = {STUDENT: "student", GOLD: "gold-label student"}
ARM_FIGURES = ("score", "parse_failures", "prompt_tokens", "completion_tokens", "speed")
COMMAND = "python -m benchmarks.recipes"
COLUMNS = ("recipe", "test rows", "baseline prompt", "DSPy default", "winner", "over baseline", "over DSPy default",
           *ARMS.values(), "--seed", "date")  # fmt: skip


class CommandFailed(Exception):
    """A command of ours that ended badly; it has said why."""


def main() -> None:
    parser = argparse.ArgumentParser(prog=COMMAND)
    parser.add_argument("--prompts", action="store_true", help="train no students")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MEASURED)}")
    options = parser.parse_args()
    failed = [name for name in options.names or MEASURED if not measure(name, students=not options.prompts)]
    write_tables()
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def write_tables() -> None:
    """Renew the tables of the pages that show what the recipes measured."""
    for page, text in page_tables(RESULTS).items():
        replace_table(ROOT / page, COMMAND, text)
        print(f"table  {page}")


def page_tables(folder: Path) -> dict[str, str]:
    """The table of each page, by its path."""
    found = comparisons(folder)
    return {
        "recipes/README.md": table(folder),
        "README.md": short_table(found),
        "docs/fine-tuning-or-prompting.md": comparison_table(found),
    }


def comparisons(folder: Path) -> list[Comparison]:
    """What the cells in `folder` hold, a recipe each."""
    found = {(record["key"]["recipe"], record["key"]["what"]): record["result"] for record in read(PART, folder)}
    return [
        Comparison(name, found[name, PROMPT], found.get((name, TRAINED)))
        for name in MEASURED
        if (name, PROMPT) in found
    ]


def measure(name: str, *, students: bool) -> bool:
    """Fill a recipe's cells; whether its commands ended well."""
    try:
        cell(PART, {"recipe": name, "what": PROMPT}, lambda: optimize(name))
        if students:
            cell(PART, {"recipe": name, "what": TRAINED}, lambda: distill(name))
    except CommandFailed:
        return False
    return True


def optimize(name: str) -> dict[str, Any]:
    """The test scores of the recipe's search, which is run or resumed where its folder holds no result."""
    folder = FOLDER / name
    best = folder / "best.json"
    folder.mkdir(parents=True, exist_ok=True)
    if not best.is_file():
        runs = sorted(path.parent for path in folder.glob("*/run.json"))
        arguments = ["--resume", str(runs[-1])] if runs else [f"recipes/{name}.py", "--runs", str(folder)]
        run_command("optimizer", *arguments, "-o", str(best))
    artifact = json.loads(best.read_text(encoding="utf-8"))
    search = {key: artifact["search"][key] for key in ("seconds", "trials", "rows_evaluated", "spent")}
    made = {"seed": artifact["search"]["seed"], "made": artifact["created_at"]}
    rows = {split: artifact["splits"][split] for split in ("train", "dev", "test")}
    return {"test": artifact["scores"]["test"], "search": search, "rows": rows, **made}


def distill(name: str) -> dict[str, Any]:
    """The test scores of the recipe's students, which are trained where its folder holds no verdict."""
    best, distilled, options = FOLDER / name / "best.json", FOLDER / name / "distilled", DISTILL_OPTIONS.get(name, ())
    if not best.is_file():
        optimize(name)
    if not (distilled / "verdict.json").is_file():
        new = ["--from-prompt", str(best), "-o", str(distilled), *options]
        run_command("distill", *(["--resume", str(distilled)] if distilled.is_dir() else new))
    verdict = json.loads((distilled / "verdict.json").read_text(encoding="utf-8"))
    kept = ("sentence", "distil", "gains", "cost", "prompt_tokens_saved", "break_even_requests")
    arms = {arm: {key: result[key] for key in ARM_FIGURES} for arm, result in verdict["arms"].items()}
    return {"arms": arms, "options": list(options), **{key: verdict[key] for key in kept}}


def run_command(module: str, *arguments: str) -> None:
    """One of our commands, with its output on the terminal. Raises `CommandFailed`."""
    print(f"\n$ python -m {module} {' '.join(arguments)}", flush=True)
    if subprocess.run([sys.executable, "-m", module, *arguments], check=False).returncode:
        raise CommandFailed


def table(folder: Path) -> str:
    """The Markdown table of the cells in `folder`, scores with their 95 % intervals."""
    lines = [line(one.name, one.prompt, one.student) for one in comparisons(folder)]
    return "\n".join([row(COLUMNS), "|---" * len(COLUMNS) + "|", *lines])


def line(name: str, prompt: Mapping[str, Any], student: Mapping[str, Any] | None) -> str:
    """A recipe's row of the table."""
    test = prompt["test"]
    cells = [f"`{name}.py`", str(test["winner"]["score"]["n"])]
    cells += [score_text(test[arm]["score"]) for arm in ("baseline", "dspy", "winner")]
    cells += [score_text(test["gains"][over], "+") for over in ("over_baseline", "over_dspy")]
    arms = student["arms"] if student else {}
    students = [score_text(arms[arm]["score"]) if arm in arms else "not measured" for arm in ARMS]
    if student and student.get("options"):
        students[0] += f" with `{' '.join(student['options'])}`"
    cells += students
    return row([*cells, str(prompt["seed"]), prompt["made"][:10]])


def row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def score_text(one: Mapping[str, float], sign: str = "") -> str:
    """A mean and its interval in points."""
    mean, low, high = (format(100 * one[key], f"{sign}.1f") for key in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"


if __name__ == "__main__":
    main()
