"""Renders pages: each is one file that needs no network, and no text of a row or a reply becomes markup or code.

Jinja escapes all values, and the page's content security policy allows only our own script, by its hash.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from promptstill.report.plot import PALETTE
from promptstill.text import p_text

SHARED_PAGES = Path(__file__).parent / "pages"


@lru_cache
def environment(folder: Path) -> Environment:
    """The templates of `folder` and the shared ones, with the filters that format numbers."""
    templates = Environment(
        loader=FileSystemLoader([folder, SHARED_PAGES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"points": points, "signed": signed, "percent": percent, "count": count, "when": when}
    templates.filters["p_text"] = p_text
    return templates


def render(template: Path, **values: object) -> str:
    """The page of a template, with the shared style and script; the template may extend the shared ones."""
    script = (SHARED_PAGES / "rows.js").read_text(encoding="utf-8")
    style = (SHARED_PAGES / "style.css").read_text(encoding="utf-8")
    light = "".join(f"--{name}:{colour};" for name, colour in PALETTE.items())
    shared = {
        "script": Markup(script),
        "style": Markup(style),
        "light": Markup(light),
        "script_hash": source_hash(script),
    }
    return environment(template.parent).get_template(template.name).render(**values, **shared)


def source_hash(script: str) -> str:
    """The hash of a script, as a content security policy has it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def when(stamp: str) -> str:
    """A time in ISO 8601, to the minute, in UTC."""
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


def page_bytes(text: str) -> int:
    """The bytes of `text` in a page, after escaping."""
    return len(str(escape(text)).encode("utf-8", "backslashreplace"))


def cut_text(text: str, limit: int) -> tuple[str, int]:
    """The beginning of `text` in at most `limit` bytes of a page, and the number of characters that were left out."""
    if len(text) * 6 <= limit:  # no character takes more than six bytes
        return text, 0
    kept = text[:limit]
    while (size := page_bytes(kept)) > limit:
        kept = kept[: min(len(kept) - 1, len(kept) * limit // size)]
    return kept, len(text) - len(kept)
