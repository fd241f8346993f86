"""The command `serve`: arguments in, exit code out.

Exit codes: 0 stopped by Ctrl-C or SIGTERM when it was up, 1 the machinery failed, 2 a mistake in the input, 130 and 143
stopped before it was up.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from optimizer import startup
from optimizer.engine import Engine
from optimizer.errors import InfrastructureError
from optimizer.exits import exit_codes
from optimizer.help import Command, files, option
from optimizer.machine import this_machine
from serving.server import DRAIN_S, Options, Plan, plan, printed, running
from serving.settings import BODY_LIMIT, KEY_VARIABLE
from serving.shown import FROM_ENVIRONMENT, ready

WHAT, WHERE, LIMITS, INSTEAD = "What is served", "Where", "Limits and logs", "Instead"
EXAMPLES = """
serve best.json                      # qa-prompt and the base, on 127.0.0.1
serve best.json --adapter distilled  # qa-distilled as well
serve distilled/merged               # the student alone, from distill --merge
serve best.json --host 0.0.0.0 --api-key KEY
serve best.json --print              # the command for a container
"""
CODES = (
    ("0", "stopped by Ctrl-C or SIGTERM when it was up"),
    ("1", "the machinery failed: engine, port, memory"),
    ("2", "a mistake in artifacts or options"),
    ("130, 143", "stopped by Ctrl-C, by SIGTERM, before it was up"),
)


@click.command(cls=Command, examples=EXAMPLES, codes=CODES)
@click.argument("artifacts", nargs=-1, type=click.Path(path_type=Path), metavar="[BEST.json | MERGED]...")
@option(WHAT, "--adapter", "adapters", multiple=True, type=click.Path(path_type=Path), metavar="FOLDER",
        help="A folder that distill wrote; may be repeated.")  # fmt: skip
@option(WHAT, "--model", metavar="MODEL", shell_complete=files,
        help="Where the artifacts' model lies here: a folder or a hub id.")  # fmt: skip
@option(WHERE, "--host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Address to listen on.")
@option(WHERE, "--port", type=click.IntRange(1, 65535), metavar="N", default=8000, show_default=True,
        help="Port to listen on.")  # fmt: skip
@option(
    WHERE, "--api-key", metavar="KEY", envvar=KEY_VARIABLE, help=f"Key that clients must send.  [env: {KEY_VARIABLE}]"
)
@option(WHERE, "--insecure", rare=True, is_flag=True, help="Listen on a public address without a key.")
@option(LIMITS, "--max-concurrency", rare=True, type=click.IntRange(1), metavar="N",
        help="Refuse (429) more requests at once.")  # fmt: skip
@option(LIMITS, "--max-body", rare=True, type=click.IntRange(1024), metavar="BYTES", default=BODY_LIMIT,
        show_default=True, help="Largest body.")  # fmt: skip
@option(LIMITS, "--log-inputs", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.jsonl",
        help="Append the inputs, as rows that optimize and distill read.")  # fmt: skip
@option(LIMITS, "--runs", rare=True, type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
        default=Path("runs"), show_default=True, help="Where the folder with the logs goes.")  # fmt: skip
@option(LIMITS, "--vllm-args", rare=True, default="", metavar="'--FLAG VALUE …'",
        help="More arguments for vLLM, as one string.")  # fmt: skip
@option(INSTEAD, "--print", "only_print", is_flag=True, help="Print vLLM's command, environment included.")
@click.version_option(package_name="promptstill")
@click.pass_context
def serve(context: click.Context, /, *, runs: Path, only_print: bool, **options: Any) -> None:
    """Serve optimized prompts and distilled models behind one vLLM endpoint. A client sends only its inputs."""
    machine = this_machine()
    prepared = plan(Options(**options), machine, say)
    if only_print:
        click.echo(printed(prepared, machine))
        return
    given = context.get_parameter_source("api_key") == click.core.ParameterSource.COMMANDLINE
    with running(prepared, runs, say) as engine:
        click.echo(greeting(prepared, engine, given=given))
        watch(engine)


def greeting(prepared: Plan, engine: Engine, *, given: bool) -> str:
    """The models and the snippets; a key `given` on the command line is shown, one from the environment is not."""
    key = prepared.options.api_key
    models = json.loads(startup.get(f"{engine.base_url}/models", key or ""))["data"]
    shown = key if given or not key else FROM_ENVIRONMENT
    return ready(prepared.served, models, engine.base_url, shown)


def watch(engine: Engine) -> None:
    """Until Ctrl-C or SIGTERM. Raises `InfrastructureError` when vLLM ends by itself."""
    try:
        while engine.alive():
            time.sleep(0.2)
    except KeyboardInterrupt:
        say(f"stopping: requests that run are finished first, {DRAIN_S} s at most (Ctrl-C again ends them)")
        return
    raise InfrastructureError("vLLM has ended by itself.", engine.post_mortem(), "Start serve again.")


def say(line: str) -> None:
    """Progress, to standard error."""
    click.echo(line, err=True)


def main() -> None:
    """The console entry."""
    with exit_codes():
        serve(standalone_mode=False)


if __name__ == "__main__":
    main()
