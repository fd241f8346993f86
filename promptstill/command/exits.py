"""How a command ends: each kind of failure has its exit code, and none of them prints a traceback."""

from __future__ import annotations

import asyncio
import contextlib
import io
import signal
import sys
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import click

from promptstill.errors import PromptstillError

RESUME_ADVICE = "Nothing that was stored is lost. Mend it, then go on with --resume."
Result = TypeVar("Result")


class Terminated(KeyboardInterrupt):
    """After SIGTERM the program unwinds as after Ctrl-C, so that the engine stops and the terminal is left clean."""


@contextlib.contextmanager
def exit_codes(after_disk_error: str = "Mend it, then give the command again.") -> Iterator[None]:
    """Inside, SIGTERM raises `Terminated`. An exception that leaves the block ends the process with its exit code."""
    signal.signal(signal.SIGTERM, raise_terminated)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a row may hold what the terminal's encoding lacks
    try:
        yield
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt) as stop:
        # click raises Abort from an interrupt.
        sys.exit(143 if isinstance(stop.__cause__ or stop, Terminated) else 130)
    except PromptstillError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:  # a full or read-only disk, or a missing permission, anywhere in the program
        click.echo(f"error: {error}\n{after_disk_error}", err=True)
        sys.exit(1)


def raise_terminated(number: int, frame: object) -> None:
    """The handler of SIGTERM."""
    raise Terminated


def run_async(work: Coroutine[Any, Any, Result]) -> Result:
    """As `asyncio.run`, but SIGTERM cancels the work, as Ctrl-C does there, so that all of its tasks unwind.

    Inside a running event loop (a notebook's) the work gets a loop in a thread of its own, and Ctrl-C cancels it there.
    """
    if _loop_runs_here():
        return _run_in_thread(work)
    if threading.current_thread() is not threading.main_thread():
        return asyncio.run(work)  # signals reach the main thread alone
    return _run_until_sigterm(work)


def _loop_runs_here() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _run_in_thread(work: Coroutine[Any, Any, Result]) -> Result:
    begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None]] = Future()

    async def cancellable() -> Result:
        begun.set_result((asyncio.get_running_loop(), asyncio.current_task()))
        return await work

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(asyncio.run, cancellable())
        try:
            return done.result()
        except KeyboardInterrupt:
            loop, task = begun.result()
            if task is not None:
                loop.call_soon_threadsafe(task.cancel)
            raise


def _run_until_sigterm(work: Coroutine[Any, Any, Result]) -> Result:
    """SIGTERM cancels the work. An exception raised by the handler would end the loop before its tasks unwind."""
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
