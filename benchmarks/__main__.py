"""Every measurement of the project, by one command; what was measured is kept, so a killed bench goes on.

    make bench              # or: python -m benchmarks [--fast] [PART ...]
    make bench FAST=1       # small sizes: 20 minutes on 2 cores

Cells lie in benchmarks/results/ (fast ones in results/fast/); benchmarks/RESULTS.md is written from them after each
part. A part that fails says so there and stops no other; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import groupby
from pathlib import Path

from benchmarks.cells import FAST, RESULTS
from benchmarks.endpoint import say, sharing
from benchmarks.readme import write_tables
from benchmarks.results import PAGE, PARTS, note, write_page
from optimizer.errors import PromptstillError

SEARCHING = ("contest", "ablations")  # ask one engine, the others each start what they compare


def main() -> int:
    options = parse()
    failed = bench(options.parts or PARTS, fast=options.fast)
    write_tables()
    print(f"failed: {', '.join(failed)}" if failed else "benchmarks/RESULTS.md is written", file=sys.stderr)
    return 1 if failed else 0


def bench(parts: Sequence[str], *, fast: bool, folder: Path = RESULTS, page: Path = PAGE) -> list[str]:
    """Measure `parts` one after the other, and write the page after each; the names of those that failed."""
    own = folder / FAST.name if fast else folder
    failed = []
    for shared, names in groupby(parts, SEARCHING.__contains__):
        with sharing() if shared else nullcontext():
            for name in names:
                say(f"--- {name}")
                problem = measure(name, fast=fast)
                note(own, name, problem)
                write_page(page, folder)
                failed += [name] if problem else []
    return failed


def measure(name: str, *, fast: bool) -> str | None:
    """Fill a part's cells; what stopped it, or None. Whatever a part raises is its own failure, and no other's."""
    try:
        importlib.import_module(f"benchmarks.{name}").run(fast)
    except PromptstillError as error:
        return str(error)
    except Exception as error:
        traceback.print_exc()
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return None


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fast", action="store_true", help="small sizes")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all where none is named")
    options = parser.parse_args()
    unknown = [name for name in options.parts if name not in PARTS]
    if unknown:
        parser.error(f"no part {', '.join(unknown)}: there are {', '.join(PARTS)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
