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
    check_depth(value)
    return value


def check_depth(value: object) -> None:
    """Refuse a value with more than MAX_DEPTH lists and objects inside each other. Raises `ValueError`."""
    level, depth = [value], 0
    while level := [one for one in level if isinstance(one, dict | list | tuple)]:
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError("nested too deeply")
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]


def parse_float(text: str) -> float:
    """A finite number. Raises `ValueError`."""
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number


def refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
