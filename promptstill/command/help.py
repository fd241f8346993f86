"""The help of the three commands, which begins with examples and fits on a screen, and completion with Tab.

`--help` shows the common options under headings; `--help-all` also shows the rare ones, the exit codes, and how to set
up completion. Completion itself is click's; it offers rare options too, and loads nothing slow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

Decorated = TypeVar("Decorated", bound="Callable[..., Any] | click.Command")
SHOW_ALL = "promptstill.help_all"  # the key in click's `meta` that --help-all sets
HELP_HEADING = "Help"  # the last heading: options that every command has
SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class Option(click.Option):
    """An option under a heading; a `rare` one is shown by --help-all only."""

    def __init__(self, *args: Any, heading: str = HELP_HEADING, rare: bool = False, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.heading, self.rare = heading, rare

    def get_help_extra(self, ctx: click.Context) -> Any:
        """Without the range of a number: the message about a wrong value states it."""
        extra = super().get_help_extra(ctx)
        extra.pop("range", None)
        return extra


def option(heading: str, *names: str, rare: bool = False, **attributes: Any) -> Callable[[Decorated], Decorated]:
    """click's option, under `heading`."""
    return click.option(*names, cls=Option, heading=heading, rare=rare, **attributes)


def with_options(*options: Callable[[Any], Any]) -> Callable[[Decorated], Decorated]:
    """A decorator that adds all these options, in this order."""

    def decorate(command: Decorated) -> Decorated:
        for add_option in reversed(options):
            command = add_option(command)
        return command

    return decorate


class Command(click.Command):
    """A command whose help begins with `examples`, as they are typed; `codes` are its exit codes and their meanings."""

    def __init__(self, *args: Any, examples: str, codes: Sequence[tuple[str, str]], **attributes: Any) -> None:
        super().__init__(*args, **{"context_settings": SETTINGS, **attributes})
        self.examples, self.codes = examples.strip().splitlines(), codes
        text = "All options, the exit codes, completion with Tab."
        help_all = Option(["--help-all"], is_flag=True, is_eager=True, expose_value=False, help=text, callback=show_all)
        self.params.append(help_all)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_usage(ctx, formatter)
        formatter.write_paragraph()
        formatter.write("".join(f"  {line}\n" for line in self.examples))
        self.format_help_text(ctx, formatter)
        self.format_options(ctx, formatter)
        if ctx.meta.get(SHOW_ALL):
            self.format_rest(formatter)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options under their headings, with all help texts in one column."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record and (ctx.meta.get(SHOW_ALL) or not getattr(parameter, "rare", False)):
                sections.setdefault(getattr(parameter, "heading", HELP_HEADING), []).append(record)
        sections[HELP_HEADING] = sections.pop(HELP_HEADING)
        widest = max(len(name) for rows in sections.values() for name, _ in rows)
        for heading, rows in sections.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(widest), text) for name, text in rows])

    def format_rest(self, formatter: click.HelpFormatter) -> None:
        """The exit codes, and how to set up completion."""
        with formatter.section("Exit codes"):
            formatter.write_dl(self.codes)
        with formatter.section("Completion with Tab: put the line into the file that your shell reads"):
            formatter.write("".join(f"  {line:<54}  # {path}\n" for path, line in completion_lines(str(self.name))))


def show_all(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    """The callback of --help-all."""
    if wanted and not context.resilient_parsing:
        context.meta[SHOW_ALL] = True
        click.echo(context.get_help())
        context.exit()


def completion_lines(program: str) -> list[tuple[str, str]]:
    """The start-up file of each shell, and the line to add to it."""
    variable = f"_{program.upper()}_COMPLETE"
    return [
        ("~/.bashrc", f'eval "$({variable}=bash_source {program})"'),
        ("~/.zshrc", f'eval "$({variable}=zsh_source {program})"'),
        ("~/.config/fish/config.fish", f"{variable}=fish_source {program} | source"),
    ]


def complete_files(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Completion with file names, for an option whose value only begins with a path."""
    return [CompletionItem(incomplete, type="file")]
