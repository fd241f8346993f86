"""Self-contained pages: one file, no network, and nothing that a row or a reply says can become markup or code.

Jinja escapes whatever is filled in, and the page's own policy lets only our script run, by its hash.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from optimizer.charts import PALETTE

FOLDER = Path(__file__).parent / "pages"


@lru_cache
def environment(folder: Path = FOLDER) -> Environment:
    """The templates of `folder` over ours, with the filters that write figures."""
    made = Environment(
        loader=FileSystemLoader([folder, FOLDER]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"points": points, "signed": signed, "percent": percent, "count": count, "when": when}
    return made


def render(template: str, folder: Path = FOLDER, **values: object) -> str:
    """A page of `folder`, with the shared style and script inside."""
    script = (FOLDER / "rows.js").read_text(encoding="utf-8")
    style = (FOLDER / "style.css").read_text(encoding="utf-8")
    light = "".join(f"--{name}:{colour};" for name, colour in PALETTE.items())
    ours = {
        "script": Markup(script),
        "style": Markup(style),
        "light": Markup(light),
        "script_hash": source_hash(script),
    }
    return environment(folder).get_template(template).render(**values, **ours)


def source_hash(script: str) -> str:
    """A script's hash as a content security policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def when(stamp: str) -> str:
    """A time of an artifact (ISO 8601) to the minute."""
    return f"{datetime.fromisoformat(stamp).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def points(share: float) -> str:
    """A score from 0 to 1 in points."""
    return f"{100 * share:.1f}"


def signed(share: float) -> str:
    """A difference of scores in points."""
    return f"{100 * share:+.1f}"


def percent(share: float) -> str:
    return f"{share:.0%}"


def count(number: float) -> str:
    return f"{number:,.0f}"


def size(text: str) -> int:
    """The bytes that `text` takes in a page."""
    return len(str(escape(text)).encode("utf-8", "backslashreplace"))


def cut(text: str, most: int) -> tuple[str, int]:
    """As much of `text` as takes at most `most` bytes in a page, and how many characters were left out."""
    if len(text) * 6 <= most:
        return text, 0
    kept = text[:most]
    while (taken := size(kept)) > most:
        kept = kept[: min(len(kept) - 1, len(kept) * most // taken)]
    return kept, len(text) - len(kept)
