"""The parameters of the worlds of rules. They were fixed before any search was tuned on them: none may change.

A figure measured in other worlds is another figure. Whoever needs another world adds one at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LABELS = ("amber", "birch", "coral", "denim", "ebony", "flint")
NEEDS = (0.15, 0.45, 0.25, 0.15)  # the shares of rows that need no rule, one, two and three
SPREAD = 0.5  # a rule is needed in proportion to its rank to the power of minus this
CLASH = 0.12  # the share of rows that a clashing pair of rules spoils where both are held
SLIP = 0.05  # the chance of a wrong answer where every needed rule is held
GUESS = 0.15  # the chance of a right answer where one is missing, or a clash spoils the row
TRAIN, DEV, HELD_OUT = 200, 100, 1_000  # rows


@dataclass(frozen=True)
class WorldSpec:
    """A world's seed, and what sets it apart.

    rules: how many there are. clashes: pairs of rules that spoil rows where a prompt holds both; nothing says which.
    names: the chance that feedback on a failure names a rule that was missing. teaches: the chance that a row that is
    shown as a demo teaches a rule that it needs. cued: the chance that a row's text has the cue of a rule that it
    needs, by which retrieval finds rows alike.
    """

    seed: int
    rules: int
    clashes: int
    names: float
    teaches: float
    cued: float


@dataclass(frozen=True)
class Skill:
    """How able a proposer is.

    keep: the chance that a rule that its request states stands in its answer. infer: the chance that it puts a rule
    into words that a row with its right answer teaches.
    """

    keep: float
    infer: float


WORLDS = (
    WorldSpec(seed=101, rules=5, clashes=1, names=0.9, teaches=0.10, cued=0.0),
    WorldSpec(seed=102, rules=5, clashes=1, names=0.3, teaches=0.35, cued=1.0),
    WorldSpec(seed=103, rules=6, clashes=1, names=0.6, teaches=0.20, cued=0.5),
    WorldSpec(seed=104, rules=8, clashes=1, names=0.9, teaches=0.35, cued=0.0),
    WorldSpec(seed=105, rules=8, clashes=1, names=0.3, teaches=0.10, cued=0.5),
    WorldSpec(seed=106, rules=10, clashes=2, names=0.6, teaches=0.20, cued=1.0),
    WorldSpec(seed=107, rules=10, clashes=1, names=0.9, teaches=0.20, cued=0.0),
    WorldSpec(seed=108, rules=12, clashes=2, names=0.3, teaches=0.35, cued=0.5),
    WorldSpec(seed=109, rules=12, clashes=2, names=0.6, teaches=0.10, cued=0.0),
    WorldSpec(seed=110, rules=15, clashes=2, names=0.9, teaches=0.20, cued=0.5),
    WorldSpec(seed=111, rules=15, clashes=2, names=0.3, teaches=0.20, cued=1.0),
    WorldSpec(seed=112, rules=18, clashes=2, names=0.6, teaches=0.35, cued=0.0),
    WorldSpec(seed=113, rules=20, clashes=2, names=0.9, teaches=0.10, cued=1.0),
    WorldSpec(seed=114, rules=20, clashes=3, names=0.6, teaches=0.20, cued=0.0),
    WorldSpec(seed=115, rules=24, clashes=3, names=0.3, teaches=0.35, cued=0.0),
    WorldSpec(seed=116, rules=25, clashes=3, names=0.9, teaches=0.20, cued=0.5),
    WorldSpec(seed=117, rules=30, clashes=3, names=0.6, teaches=0.10, cued=0.5),
    WorldSpec(seed=118, rules=32, clashes=4, names=0.9, teaches=0.35, cued=1.0),
    WorldSpec(seed=119, rules=36, clashes=4, names=0.6, teaches=0.20, cued=0.0),
    WorldSpec(seed=120, rules=40, clashes=4, names=0.3, teaches=0.10, cued=0.5),
)
SKILLS: Mapping[str, Skill] = {  # a proposer without skill writes what helps nothing
    "strong": Skill(keep=0.95, infer=0.3),
    "weak": Skill(keep=0.7, infer=0.1),
    "junk": Skill(keep=0.0, infer=0.0),
}
CUES = (
    *("anchor", "barrel", "candle", "ladder", "engine", "feather", "garden", "hammer", "island", "jacket", "kettle"),
    *("lantern", "mirror", "needle", "orchard", "pillow", "quarry", "ribbon", "saddle", "tunnel", "umbrella", "valley"),
    *("wagon", "yarn", "bridge", "copper", "drawer", "easel", "fence", "goblet", "harbour", "inkwell", "jar", "kiln"),
    *("locket", "marble", "nest", "oar", "paddle", "quilt"),
)
ACTIONS = (
    *("count the days before the names", "trust the last sentence", "let the sender decide", "go by the oldest date"),
    *("leave the price aside", "weigh the reason most", "ask who pays", "prefer the second place named"),
    *("read the numbers from right to left", "take the place for the person"),
)
FILLER = (
    *("again", "before", "behind", "carry", "clear", "cold", "corner", "early", "every", "family", "follow", "gather"),
    *("happen", "heavy", "inside", "later", "little", "market", "meeting", "morning", "nearly", "never", "number"),
    *("office", "often", "people", "quiet", "reach", "river", "second", "simple", "slowly", "spring", "station"),
    *("street", "summer", "table", "travel", "under", "water", "weather", "window", "winter", "without", "yellow"),
)
