"""The face of the three commands: help that begins with examples and fits a screen, and completion with Tab.

`--help` shows the everyday options under headings; `--help-all` shows the rare ones too, the exit codes, and how a
shell is told to complete. Completion itself is click's: it offers rare options as well, and loads nothing slow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

Decorated = TypeVar("Decorated", bound="Callable[..., Any] | click.Command")
EVERYTHING = "promptstill.help_all"
LAST = "Help"  # the heading of what belongs to every command
SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class Option(click.Option):
    """An option under a heading; a `rare` one is shown by --help-all only."""

    def __init__(self, *args: Any, heading: str = LAST, rare: bool = False, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.heading, self.rare = heading, rare

    def get_help_extra(self, ctx: click.Context) -> Any:
        """Without the range, which the refusal of a wrong value states."""
        extra = super().get_help_extra(ctx)
        extra.pop("range", None)
        return extra


def option(heading: str, *names: str, rare: bool = False, **attributes: Any) -> Callable[[Decorated], Decorated]:
    """click's option, under `heading`."""
    return click.option(*names, cls=Option, heading=heading, rare=rare, **attributes)


def with_options(*options: Callable[[Any], Any]) -> Callable[[Decorated], Decorated]:
    """All of them, in this order."""

    def decorate(command: Decorated) -> Decorated:
        for one in reversed(options):
            command = one(command)
        return command

    return decorate


class Command(click.Command):
    """A command whose help begins with `examples`, as typed; `codes` are its exit codes and when they come."""

    def __init__(self, *args: Any, examples: str, codes: Sequence[tuple[str, str]], **attributes: Any) -> None:
        super().__init__(*args, **{"context_settings": SETTINGS, **attributes})
        self.examples, self.codes = examples.strip().splitlines(), codes
        says = "All options, the exit codes, completion with Tab."
        whole = Option(["--help-all"], is_flag=True, is_eager=True, expose_value=False, help=says, callback=show_all)
        self.params.append(whole)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_usage(ctx, formatter)
        formatter.write_paragraph()
        formatter.write("".join(f"  {line}\n" for line in self.examples))
        self.format_help_text(ctx, formatter)
        self.format_options(ctx, formatter)
        if ctx.meta.get(EVERYTHING):
            self.format_rest(formatter)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options by heading, all helps in one column."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record and (ctx.meta.get(EVERYTHING) or not getattr(parameter, "rare", False)):
                sections.setdefault(getattr(parameter, "heading", LAST), []).append(record)
        sections[LAST] = sections.pop(LAST)
        widest = max(len(name) for rows in sections.values() for name, _ in rows)
        for heading, rows in sections.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(widest), text) for name, text in rows])

    def format_rest(self, formatter: click.HelpFormatter) -> None:
        """Exit codes, and completion."""
        with formatter.section("Exit codes"):
            formatter.write_dl(self.codes)
        with formatter.section("Completion with Tab: put the line into the file that your shell reads"):
            formatter.write("".join(f"  {line:<54}  # {path}\n" for path, line in completion(str(self.name))))


def show_all(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    """--help-all."""
    if wanted and not context.resilient_parsing:
        context.meta[EVERYTHING] = True
        click.echo(context.get_help())
        context.exit()


def completion(program: str) -> list[tuple[str, str]]:
    """Each shell's file, and the line for it."""
    variable = f"_{program.upper()}_COMPLETE"
    return [
        ("~/.bashrc", f'eval "$({variable}=bash_source {program})"'),
        ("~/.zshrc", f'eval "$({variable}=zsh_source {program})"'),
        ("~/.config/fish/config.fish", f"{variable}=fish_source {program} | source"),
    ]


def files(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Completion by the shell's own file names, for a value that only begins as a path."""
    return [CompletionItem(incomplete, type="file")]
