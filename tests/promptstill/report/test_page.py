"""Pages: nothing in them becomes markup, and texts keep to their bytes."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from promptstill.report.page import cut_text, environment, page_bytes


def test_templates_escape_by_default(tmp_path: Path) -> None:
    assert environment(tmp_path).from_string("{{ text }}").render(text="<b>") == "&lt;b&gt;"


@given(st.text(max_size=300), st.integers(1, 200))
def test_a_cut_text_keeps_to_its_bytes_and_counts_the_rest(text: str, limit: int) -> None:
    kept, left = cut_text(text, limit)
    assert page_bytes(kept) <= limit and len(kept) + left == len(text) and text.startswith(kept)
