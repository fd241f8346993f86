"""Drawing a page while other work goes on: a page that fails is reported, and stops nothing."""

from __future__ import annotations

from collections.abc import Callable

from promptstill.events import Say


def draw_or_say(draw: Callable[[], None], say: Say, again: str) -> None:
    """Call `draw`. What it raises is said with the command `again`, so that it hides no error of the work itself."""
    try:
        draw()
    except Exception as error:  # whatever a chart makes of the figures; the folder's files hold them all
        say(f"report.html could not be drawn ({type(error).__name__}: {error}); try again with: {again}")
