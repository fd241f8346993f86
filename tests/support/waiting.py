"""Waits for what another process does."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil


def eventually(is_true: Callable[[], bool], limit_s: float = 20.0) -> bool:
    """Whether `is_true` becomes true within the limit."""
    deadline = time.monotonic() + limit_s
    while not is_true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def lives(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    try:
        return psutil.Process(pid).status() != "zombie"
    except psutil.NoSuchProcess:
        return False
