"""What the recipes measure: baseline, DSPy's default, rivals, winner and student, each recipe run from end to end.

    python -m benchmarks.recipes [--prompts] [NAME...]

Runs `optimize` and `distill` in runs/recipes/NAME for every recipe that the embedded model can do, or for those named;
with --prompts, and for TREC-6, `optimize` alone. Stores what they measured in benchmarks/results/recipes.jsonl, and
writes the tables in recipes/README.md, README.md and docs/fine-tuning-or-prompting.md from it. Stored cells are not
measured again, so a killed bench goes on: to measure anew, delete the line, and the folder.
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
from benchmarks.contest.tasks import SHARED, TREC
from benchmarks.endpoint import say
from benchmarks.question import GOLD, NONE, STUDENT, Comparison, comparison_table, short_table
from benchmarks.readme import ROOT, replace_table
from promptstill.scoring.rivals.report import LABELS
from promptstill.task.recipe import SPLITS

FOLDER = Path("runs") / "recipes"
PART, PROMPT, TRAINED = "recipes", "prompt", "student"
RECIPES = ("sentiment", "qa", "tickets", "extract", "math")
TREC_SIZES = {"trec-200": (200, 100, 200), "trec-600": (600, 100, 300)}  # rows of train, dev and test
MEASURED = (*RECIPES, *TREC_SIZES)
RIVALS = ("majority", "nearest", "bag_of_words")
DISTILL_OPTIONS = {"extract": ("--gold",)}  # the embedded teacher is seldom right there
ARMS = {STUDENT: "student", GOLD: "gold-label student"}
ARM_FIGURES = ("score", "parse_failures", "prompt_tokens", "completion_tokens", "speed")
COMMAND = "python -m benchmarks.recipes"
COLUMNS = ("recipe", "test rows", "baseline prompt", "DSPy default", *(LABELS[name] for name in RIVALS), "winner",
           "over baseline", "over the best rival", *ARMS.values(), "--seed", "date")  # fmt: skip


class CommandFailed(Exception):
    """A command of ours that ended badly; it has said why."""


def main() -> None:
    parser = argparse.ArgumentParser(prog=COMMAND)
    parser.add_argument("--prompts", action="store_true", help="train no students")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MEASURED)}")
    options = parser.parse_args()
    named = options.names or [name for name in MEASURED if is_here(name)]
    failed = [name for name in named if not measure(name, students=not options.prompts and name in RECIPES)]
    write_tables()
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def is_here(name: str) -> bool:
    """Whether a recipe's rows are here; says where they are not."""
    here = name in RECIPES or data_path().is_file()
    if not here:
        say(f"{name}: skipped, {data_path().name} is not here")
    return here


def data_path() -> Path:
    """The rows of TREC-6."""
    return SHARED / "trec-train-3000.jsonl"


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
        "README.md": short_table([one for one in found if one.name in RECIPES]),
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
        arguments = ["--resume", str(runs[-1])] if runs else [*recipe_arguments(name), "--runs", str(folder)]
        run_command("optimizer", *arguments, "-o", str(best))
    artifact = json.loads(best.read_text(encoding="utf-8"))
    search = {key: artifact["search"][key] for key in ("seconds", "trials", "rows_evaluated", "spent")}
    made = {"seed": artifact["search"]["seed"], "made": artifact["created_at"]}
    rows = {split: artifact["splits"][split] for split in ("train", "dev", "test")}
    return {"test": artifact["scores"]["test"], "search": search, "rows": rows, **made}


def recipe_arguments(name: str) -> list[str]:
    """A recipe on the command line."""
    if name in RECIPES:
        return [f"recipes/{name}.py"]
    sizes = zip(SPLITS, TREC_SIZES[name], strict=True)
    return [
        str(TREC),
        "-p",
        f"data={data_path()}",
        *(word for split, rows in sizes for word in ("-p", f"{split}={rows}")),
    ]


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
    rivals = test.get("rivals", {})
    cells = [label(name), str(test["winner"]["score"]["n"])]
    cells += [score_text(test[arm]["score"]) for arm in ("baseline", "dspy")]
    cells += [score_text(rivals[rival]["score"]) if rival in rivals else NONE for rival in RIVALS]
    cells += [score_text(test["winner"]["score"]), score_text(test["gains"]["over_baseline"], "+")]
    best = max(rivals.values(), key=lambda one: one["score"]["mean"], default=None)
    cells.append(score_text(best["gain"], "+") if best else NONE)
    arms = student["arms"] if student else {}
    students = [score_text(arms[arm]["score"]) if arm in arms else NONE for arm in ARMS]
    if student and student.get("options"):
        students[0] += f" with `{' '.join(student['options'])}`"
    cells += students
    return row([*cells, str(prompt["seed"]), prompt["made"][:10]])


def label(name: str) -> str:
    """A recipe's name in the table; of TREC-6 with its rows."""
    return f"`{name}.py`" if name in RECIPES else f"TREC-6, {'/'.join(map(str, TREC_SIZES[name]))}"


def row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def score_text(one: Mapping[str, float], sign: str = "") -> str:
    """A mean and its interval in points."""
    mean, low, high = (format(100 * one[key], f"{sign}.1f") for key in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"


if __name__ == "__main__":
    main()
