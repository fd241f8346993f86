"""Renews report.html while a distillation runs. A page that cannot be drawn hides no error of the work."""

from __future__ import annotations

from distill.folder import DistilledFolder
from promptstill.events import Say
from promptstill.report.drawing import draw_or_say
from promptstill.shell import command_line


def draw_report(folder: DistilledFolder, say: Say, *, running: bool = False) -> None:
    """Renew report.html, or say that it could not be drawn."""

    def draw() -> None:
        # It loads Matplotlib, for which a distillation need not wait to begin.
        from distill.report.page import write_report

        write_report(folder, running=running)

    draw_or_say(draw, say, command_line("distill", "--report", folder.path))
