"""Writes docs/cli.md from what the three commands themselves answer to --help.

    python docs/write_cli.py

To be run after every change of an option; tests/test_docs.py compares.
"""

from __future__ import annotations

from pathlib import Path

import click
from click.testing import CliRunner

from distill.cli import distill
from optimizer.cli import optimize
from promptstill.errors import InfrastructureError, UserError
from serving.cli import serve

PAGE = Path(__file__).with_name("cli.md")
WIDTH = 100
HEAD = """\
# The command line
`python docs/write_cli.py` writes this page from the commands' own `--help`; a test compares the two.
`python -m optimizer`, `python -m distill` and `python -m serving` are the same commands.
"""
CODES = f"""
## Exit codes
| code | when |
|---|---|
| 0 | Done. For `optimize` also when a limit ended the search, and when `--gate` passed; for `serve` when Ctrl-C or SIGTERM stopped it after it was up. |
| {InfrastructureError.exit_code} | The machinery failed: engine, endpoint, memory or disk. Nothing was scored with the failure, and stored calls are kept. |
| {UserError.exit_code} | A mistake in what was given: an option, the recipe, a row, an artifact, a key, a model's name. |
| 3 | `optimize --gate`: the prompt scores significantly less than it did. |
| 130 | Stopped by Ctrl-C (`serve`: before it was up). |
| 143 | Stopped by SIGTERM (`serve`: before it was up). |

A limit that is reached before any prompt was scored on dev ends `optimize` with 0 too, but then there is no best.json. A
limit that `distill` reaches ends it with 0 before there is a result; it says how to go on.

## Completion
Tab completes options in bash after `eval "$(_OPTIMIZE_COMPLETE=bash_source optimize)"` (likewise `_DISTILL_COMPLETE`,
`_SERVE_COMPLETE`; `zsh_source`, `fish_source`). `--help-all` prints the line for your shell.
"""  # noqa: E501 (a table's row is one line)


def page() -> str:
    """The page as text."""
    commands = (optimize, distill, serve)
    return HEAD + "".join(f"\n## {one.name}\n```text\n{asked(one)}\n```\n" for one in commands) + CODES


def asked(command: click.Command) -> str:
    """A command's answer to --help, at a fixed width."""
    environment = {"COLUMNS": str(WIDTH), "NO_COLOR": "1"}
    answer = CliRunner(env=environment).invoke(command, ["--help"], prog_name=command.name, terminal_width=WIDTH)
    return "\n".join(line.rstrip() for line in answer.output.strip().splitlines())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
