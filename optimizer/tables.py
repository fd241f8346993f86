"""Tables for a terminal of 80 columns."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table


def narrow(title: str, label: str, *figures: str) -> Table:
    """An empty table under a title: a column of labels, then columns of figures, none of them broken over lines."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(label, no_wrap=True)
    for figure in figures:
        table.add_column(figure, justify="right", no_wrap=True)
    return table
