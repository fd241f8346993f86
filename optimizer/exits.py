"""How a command ends: every failure in its exit code, without a traceback of ours. Shared by the three commands."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import click

from optimizer.errors import PromptstillError

Result = TypeVar("Result")


class Terminated(KeyboardInterrupt):
    """SIGTERM: unwinds like Ctrl-C, so that the engine stops and the terminal is left clean."""


@contextlib.contextmanager
def exit_codes() -> Iterator[None]:
    """Inside, SIGTERM raises `Terminated`; what leaves the block ends the process with its code (see errors.py)."""
    signal.signal(signal.SIGTERM, terminated)
    try:
        yield
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt) as stop:
        # click turns an interrupt into an Abort that it causes.
        sys.exit(143 if isinstance(stop.__cause__ or stop, Terminated) else 130)
    except PromptstillError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:  # a full or read-only disk, or a missing permission, wherever it showed
        click.echo(f"error: {error}\nNothing that was stored is lost. Mend it, then go on with --resume.", err=True)
        sys.exit(1)


def terminated(number: int, frame: object) -> None:
    """The handler of SIGTERM."""
    raise Terminated


def run_async(work: Coroutine[Any, Any, Result]) -> Result:
    """As `asyncio.run`; SIGTERM cancels the work, as Ctrl-C does there, so that all of it unwinds.

    What is raised inside one of its tasks instead ends the event loop, and leaves the work where it stands.
    """
    stopped = False

    async def cancellable() -> Result:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def stop(number: int, frame: object) -> None:
            nonlocal stopped
            if stopped or task is None:
                raise Terminated
            stopped = True
            task.cancel()
            loop.call_soon_threadsafe(lambda: None)  # wakes a loop that waits

        before = signal.signal(signal.SIGTERM, stop)
        try:
            return await work
        finally:
            signal.signal(signal.SIGTERM, before)

    try:
        return asyncio.run(cancellable())
    except asyncio.CancelledError:
        if stopped:
            raise Terminated from None
        raise
