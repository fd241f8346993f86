"""What a terminal shows of events, and what a pipe gets."""

from __future__ import annotations

import io

from rich.console import Console

from promptstill.command.listeners import BarListener, LineListener, terminal_listener
from promptstill.events import Event, GenerationEnded, Message, StepEnded, StepProgress, StepStarted

GENERATION = GenerationEnded(8, 16, 0.765, {"layout": "raw", "k": 4}, 152, 320, 1_159, 120_000, 90.0, "--max-calls")
EVENTS: list[Event] = [
    StepStarted("answers", 5),
    *(StepProgress("answers", done, 5, "3 s left") for done in range(1, 6)),
    StepEnded("answers"),
    Message("[red]no markup[/red]"),
    GENERATION,
]


def heard(console: Console, events: list[Event]) -> str:
    with terminal_listener(console) as listener:
        for event in events:
            listener(event)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_pipe_gets_a_line_for_what_matters() -> None:
    lines = heard(Console(file=io.StringIO(), width=200), EVENTS).splitlines()
    assert [line[8:] for line in lines[:2]] == ["answers 5/5  3 s left", "[red]no markup[/red]"]
    assert lines[2][8:] == (
        "trial 8/16  best on dev 76.5  152 dev rows evaluated, 168 saved by racing (52%)  1.5 min left (--max-calls)"
        "  1,159 calls, 0.12M tokens"
    )
    assert lines[3:] == ["          best: layout raw, k 4"]


def test_a_terminal_has_a_bar_that_goes_in_the_end() -> None:
    console = Console(file=io.StringIO(), width=200, force_terminal=True)
    text = heard(console, [StepStarted("trials", 16), *EVENTS, GENERATION, StepEnded("trials")])
    assert text.count("trial 8/16") == 1, "a generation is a line only where the best score has risen"
    assert "\x1b[2K" in text and text.count("[red]no markup[/red]") == 1


def test_which_one_it_is() -> None:
    assert isinstance(terminal_listener(Console(file=io.StringIO())), LineListener)
    assert isinstance(terminal_listener(Console(file=io.StringIO(), force_terminal=True)), BarListener)
