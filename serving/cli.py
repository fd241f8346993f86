"""The command `serve`: arguments in, exit code out.

Exit codes: 0 stopped by Ctrl-C or SIGTERM while it was serving, 1 the machinery failed, 2 a mistake in the input,
130 and 143 stopped by Ctrl-C and SIGTERM before it was ready.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from promptstill.command.engine import engine_options
from promptstill.command.exits import exit_codes
from promptstill.command.help import Command, complete_files, option, with_options
from promptstill.engine.machine import this_machine
from promptstill.events import Event, Message, teller
from serving import ServeSettings
from serving import serve as start_server
from serving.banner import FROM_ENVIRONMENT, banner_text, from_file
from serving.plan import DRAIN_S, plan_server, shell_command
from serving.server import RunningServer
from serving.settings import BODY_LIMIT, CHOICES_LIMIT, KEY_VARIABLE, MOST_CHOICES

MODELS, ADDRESS, LIMITS, INSTEAD = "What to serve", "Address and key", "Limits and logs", "Instead of serving"
EXAMPLES = """
serve best.json                      # qa-prompt and the base, on 127.0.0.1
serve best.json --adapter distilled  # qa-distilled as well
serve distilled/merged               # what distill --merge wrote
serve best.json --host 0.0.0.0 --api-key-file key.txt
serve best.json --print              # vLLM's command, for a container
"""
CODES = (
    ("0", "stopped by Ctrl-C or SIGTERM while it was serving"),
    ("1", "the machinery failed: engine, port, memory"),
    ("2", "a mistake in artifacts or options"),
    ("130, 143", "stopped by Ctrl-C, by SIGTERM, before it was ready"),
)


@click.command(cls=Command, examples=EXAMPLES, codes=CODES)
@click.argument("artifacts", nargs=-1, type=click.Path(path_type=Path), metavar="[BEST.json | MERGED]...")
@option(MODELS, "--adapter", "adapters", multiple=True, type=click.Path(path_type=Path), metavar="FOLDER",
        help="Folder that distill wrote. May be repeated.")  # fmt: skip
@option(MODELS, "--model", metavar="MODEL", shell_complete=complete_files,
        help="Folder or hub id of the base model.  [default: as the artifacts say]")  # fmt: skip
@option(MODELS, "--no-base", "with_base", is_flag=True, flag_value=False, default=True,
        help="Refuse requests for the base model: clients see the variants alone.")  # fmt: skip
@option(ADDRESS, "--host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Address to listen on.")
@option(ADDRESS, "--port", type=click.IntRange(1, 65535), metavar="N", default=8000, show_default=True,
        help="Port to listen on.")  # fmt: skip
@option(
    ADDRESS, "--api-key", metavar="KEY", envvar=KEY_VARIABLE, help=f"Key that clients must send.  [env: {KEY_VARIABLE}]"
)
@option(
    ADDRESS, "--api-key-file", type=click.Path(path_type=Path), metavar="FILE", help="File with that key, in a line."
)
@option(ADDRESS, "--insecure", rare=True, is_flag=True, help="Listen on a public address without a key.")
@option(LIMITS, "--max-concurrency", rare=True, type=click.IntRange(1), metavar="N",
        help="Largest number of requests at once. Others are refused (429).")  # fmt: skip
@option(LIMITS, "--max-body", rare=True, type=click.IntRange(1024), metavar="BYTES", default=BODY_LIMIT,
        show_default=True, help="Largest request body.")  # fmt: skip
@option(LIMITS, "--max-n", rare=True, type=click.IntRange(1, MOST_CHOICES), metavar="N", default=CHOICES_LIMIT,
        show_default=True, help="Largest number of replies to one request (its n).")  # fmt: skip
@option(LIMITS, "--log-inputs", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.jsonl",
        help="Append the inputs to this file, as rows for optimize and distill.")  # fmt: skip
@option(LIMITS, "--runs", rare=True, type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
        default=Path("runs"), show_default=True, help="Where to make the folder with the logs.")  # fmt: skip
@with_options(*engine_options(LIMITS))
@option(INSTEAD, "--print", "only_print", is_flag=True, help="Print vLLM's command line with its environment, and end.")
@click.version_option(package_name="promptstill")
@click.pass_context
def serve(context: click.Context, /, *, runs: Path, only_print: bool, **options: Any) -> None:
    """Serve optimized prompts and distilled models behind one vLLM endpoint. A client sends only its inputs."""
    if context.get_parameter_source("api_key") == click.core.ParameterSource.COMMANDLINE:
        say(
            f"warning: --api-key shows the key in `ps` and in the shell's history; use {KEY_VARIABLE} or --api-key-file"
        )
    elif options["api_key_file"]:
        options["api_key"] = None  # of the environment: what is typed counts
    settings = ServeSettings(**options)
    if only_print:
        machine = this_machine()
        click.echo(shell_command(plan_server(settings, machine, teller(show), download=False), machine))
        return
    with start_server(settings, runs=runs, listener=show) as server:
        click.echo(server_banner(server))
        wait_until_stopped(server)


def server_banner(server: RunningServer) -> str:
    """The models and the snippets, which take the key from its file, or else from the environment."""
    settings = server.plan.settings
    with server.client() as client:
        models = client.models()
    file = Path(settings.api_key_file) if settings.api_key_file else None
    # A pipe, of a password store say, cannot be read a second time.
    source = from_file(file.absolute()) if file and file.is_file() else FROM_ENVIRONMENT
    return banner_text(server.plan.served, models, server.base_url, source if settings.api_key else None)


def wait_until_stopped(server: RunningServer) -> None:
    """Return after Ctrl-C or SIGTERM. Raises `InfrastructureError` when vLLM ends by itself."""
    try:
        server.wait()
    except KeyboardInterrupt:
        say(f"stopping: running requests get up to {DRAIN_S} s to finish (Ctrl-C again stops at once)")


def show(event: Event) -> None:
    """Print messages on standard error."""
    if isinstance(event, Message):
        say(event.text)


def say(line: str) -> None:
    click.echo(line, err=True)


def main() -> None:
    """The console entry."""
    with exit_codes():
        serve(standalone_mode=False)


if __name__ == "__main__":
    main()
