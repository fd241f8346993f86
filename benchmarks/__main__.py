"""Every measurement of the project by one command. Stored cells are not measured again, so a killed bench goes on.

    make bench              # or: python -m benchmarks [--fast] [PART ...]
    make bench FAST=1       # small sizes: 20 minutes on 2 cores

Cells are in benchmarks/results/ (fast ones in results/fast/). benchmarks/RESULTS.md is written from them after each
part. A part that fails is named there and stops no other; the exit code is then 1.
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
from benchmarks.endpoint import say, shared_endpoint
from benchmarks.readme import write_tables
from benchmarks.results import PAGE, PARTS, note_end, write_page
from promptstill.errors import PromptstillError

ONE_ENDPOINT = ("contest", "ablations")  # share an engine; each of the others starts what it measures


def main() -> int:
    options = parse_options()
    failed = measure_parts(options.parts or tuple(PARTS), fast=options.fast)
    write_tables()
    print(f"failed: {', '.join(failed)}" if failed else "benchmarks/RESULTS.md is written", file=sys.stderr)
    return 1 if failed else 0


def measure_parts(parts: Sequence[str], *, fast: bool, folder: Path = RESULTS, page: Path = PAGE) -> list[str]:
    """Measure `parts` one after the other, and write the page after each; the names of those that failed."""
    own_folder = folder / FAST.name if fast else folder
    failed = []
    for shared, names in groupby(parts, ONE_ENDPOINT.__contains__):
        with shared_endpoint() if shared else nullcontext():
            for name in names:
                say(f"--- {name}")
                problem = measure_part(name, fast=fast)
                note_end(own_folder, name, problem)
                write_page(page, folder)
                failed += [name] if problem else []
    return failed


def measure_part(name: str, *, fast: bool) -> str | None:
    """Fill a part's cells; what stopped it, or None. Whatever a part raises fails that part alone."""
    try:
        importlib.import_module(PARTS[name]).run(fast)
    except PromptstillError as error:
        return str(error)
    except Exception as error:
        traceback.print_exc()
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return None


def parse_options() -> argparse.Namespace:
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
