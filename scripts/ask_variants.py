"""Serves a prompt and its student, asks each one test row, and stops the server.

python -m scripts.ask_variants BEST.json DISTILLED
"""

from __future__ import annotations

import sys
from pathlib import Path

from scripts.demo import ask, running_server


def main(best: Path, distilled: Path) -> None:
    with running_server(best, distilled, best.with_name("serve.log")) as url:
        ask(url, distilled / "test.jsonl")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
