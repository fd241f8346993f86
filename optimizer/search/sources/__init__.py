"""Where instructions and demos come from: one file a source, and the table of them.

A new source is a class as source.py's `Source` says, in a file here, and a line in `SOURCES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from optimizer.search.sources.bootstrap import BootstrapSource
from optimizer.search.sources.evolve import EvolveSource
from optimizer.search.sources.given import GivenSource
from optimizer.search.sources.grounded import GroundedSource
from optimizer.search.sources.reflect import ReflectSource
from optimizer.search.sources.source import Source, SourceContext

FROM_ROWS = "grounded"  # those that cost the fewest calls
SOURCES: Mapping[str, Callable[[SourceContext], Source]] = {
    "given": GivenSource,
    "bootstrap": BootstrapSource,
    "evolve": EvolveSource,
    FROM_ROWS: GroundedSource,
    "reflect": ReflectSource,
}
OF_DEMOS, OF_INSTRUCTIONS = ("given", "bootstrap", "evolve"), ("given", FROM_ROWS, "reflect")


def open_sources(context: SourceContext) -> dict[str, Source]:
    """The sources of what may change, by name."""
    names = {"instructions": OF_INSTRUCTIONS, "demos": OF_DEMOS}.get(context.only, tuple(SOURCES))
    return {name: SOURCES[name](context) for name in names}
