"""JSON as its standard has it: what clients, models and files from elsewhere send is read here.

Python's own reader also takes NaN and Infinity, makes an infinity of 1e999, and fails by a RecursionError where lists
are nested in a thousand others. Here they are refused, all with `ValueError`.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

MAX_DEPTH = 64  # lists and objects inside each other


def parse_json(text: bytes | str) -> Any:
    """The value of a JSON text. Raises `ValueError`."""
    try:
        value = json.loads(text, parse_float=parse_float, parse_constant=refuse_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if count_brackets(text) > MAX_DEPTH and is_too_deep(value):
        raise ValueError("nested too deeply")
    return value


def count_brackets(text: bytes | str) -> int:
    """Of opening brackets and braces: no value is deeper."""
    return text.count("[") + text.count("{") if isinstance(text, str) else text.count(b"[") + text.count(b"{")


def is_too_deep(value: object) -> bool:
    """Whether more than MAX_DEPTH lists and objects are inside each other."""
    level, depth = [value], 0
    while level := [one for one in level if isinstance(one, dict | list | tuple)]:
        depth += 1
        if depth > MAX_DEPTH:
            return True
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return False


def parse_float(text: str) -> float:
    """A finite number. Raises `ValueError`."""
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number


def refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
