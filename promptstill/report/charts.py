"""The charts of the pages: inline SVG without scripts, drawn by Matplotlib, in the colours of a light or dark page.

Matplotlib draws with the light palette; each colour is then replaced by its CSS variable. Figures are sized in CSS
pixels, so that their text can still be read where a phone shrinks them. Text is never read as mathematics or markup.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

PALETTE = {
    "fg": "#1c2430",
    "soft": "#5b6675",
    "line": "#d8dee6",
    "card": "#f6f8fa",
    "baseline": "#7b8794",
    "dspy": "#b5651d",
    "winner": "#0b6bcb",
    "good": "#1a7f37",
    "bad": "#c6282f",
}
WIDTH = 470  # CSS pixels
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": PALETTE["line"],
    "axes.labelcolor": PALETTE["soft"],
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": PALETTE["line"],
    "grid.linewidth": 0.6,
    "xtick.color": PALETTE["soft"],
    "ytick.color": PALETTE["soft"],
    "text.color": PALETTE["fg"],
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.frameon": False,
    "legend.fontsize": 11,
    "legend.borderaxespad": 0.3,
    "legend.columnspacing": 1.2,
}


@dataclass(frozen=True)
class Interval:
    """A mean with its interval, in points, and a label; `colour` is a name in PALETTE."""

    label: str
    mean: float
    low: float
    high: float
    colour: str


@dataclass(frozen=True)
class Point:
    """A trial in a chart: `y` in points.

    estimated: racing ended it early. chosen: it is the winner. front: it is on the Pareto front.
    """

    x: float
    y: float
    estimated: bool = False
    chosen: bool = False
    front: bool = False


def draw(name: str, height: int, rows: int, plot: Callable[..., None], *values: Any) -> Markup:
    """A figure of `rows` axes, one above the other, as SVG; its ids are made of `name`, which is unique in a page."""
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(WIDTH / 72, height / 72), layout="constrained")
        axes = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
        plot(*axes, *values)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return Markup(page_svg(file.getvalue()))


def page_svg(text: str) -> str:
    """A stand-alone SVG as part of a page: without prolog and unused ids, and with CSS variables for colours."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style type=.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r' id="[A-Za-z]\w*_\d+"', "", text)
    text = re.sub(r'^<svg [^>]*viewBox="([^"]+)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true">', text)
    for name, colour in PALETTE.items():
        text = text.replace(colour, f"var(--{name})")
    return re.sub(r"\n\s*", "\n", text)


def interval_chart(name: str, bars: Sequence[Interval], label: str, *, zero: bool = False) -> Markup:
    """Means as dots on their intervals, a row each. `zero`: they are differences, and a line marks zero."""
    return draw(name, 62 + 34 * len(bars), 1, plot_intervals, bars, label, zero)


def plot_intervals(axes: Axes, bars: Sequence[Interval], label: str, zero: bool) -> None:
    for place, bar in enumerate(reversed(bars)):
        colour = PALETTE[bar.colour]
        axes.plot([bar.low, bar.high], [place, place], color=colour, linewidth=5, alpha=0.45, solid_capstyle="round")
        axes.plot([bar.mean], [place], "o", color=colour, markersize=9, clip_on=False, zorder=3)
        axes.annotate(
            f"{bar.mean:{'+' if zero else ''}.1f}",
            (bar.mean, place),
            (0, 9),
            textcoords="offset points",
            ha="center",
            fontsize=11,
        )
    if zero:
        axes.axvline(0, color=PALETTE["soft"], linewidth=1.2, linestyle=(0, (4, 3)))
    axes.set_yticks(range(len(bars)), [bar.label for bar in reversed(bars)])
    axes.tick_params(axis="y", length=0, labelcolor=PALETTE["fg"])
    axes.grid(visible=False, axis="y")
    axes.set_ylim(-0.5, len(bars) - 0.35)
    axes.set_xlabel(label)
    if not zero:
        axes.set_xlim(left=-0.04 * max(bar.high for bar in bars))


def search_chart(points: Sequence[Point], rows: Sequence[int], full: int) -> Markup:
    """The score of each trial, above the dev rows it was evaluated on, of `full`."""
    return draw("search", 420, 2, plot_search, points, rows, full)


def plot_search(above: Axes, below: Axes, points: Sequence[Point], rows: Sequence[int], full: int) -> None:
    scatter(above, points)
    complete = [point for point in points if not point.estimated]
    best = [max(p.y for p in complete if p.x <= point.x) for point in complete]
    above.step([p.x for p in complete], best, where="post", color=PALETTE["winner"], linewidth=1, label="best so far")
    above.set_ylabel("score on dev")
    legend(above)
    x = [point.x for point in points]
    below.bar(x, rows, color=PALETTE["winner"], width=0.7, label="rows evaluated")
    below.bar(x, [full - n for n in rows], bottom=rows, color=PALETTE["line"], width=0.7, label="saved by racing")
    below.grid(visible=False, axis="x")
    below.set_ylabel("dev rows")
    below.set_xlabel("trial")
    legend(below)
    below.xaxis.set_major_locator(MaxNLocator(integer=True))


def tradeoff_chart(name: str, points: Sequence[Point], label: str) -> Markup:
    """Score against a cost, with the Pareto front as a line and a ring around the winner."""
    return draw(name, 340, 1, plot_tradeoff, points, label)


def plot_tradeoff(axes: Axes, points: Sequence[Point], label: str) -> None:
    front = sorted((point for point in points if point.front), key=lambda point: point.x)
    axes.step([p.x for p in front], [p.y for p in front], where="post", color=PALETTE["good"], label="Pareto front")
    scatter(axes, points)
    axes.set_xlabel(label)
    axes.set_ylabel("score on dev")
    axes.set_xlim(left=0)
    legend(axes)


def legend(axes: Axes) -> None:
    """A legend above the axes, where it hides no point."""
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)


def scatter(axes: Axes, points: Sequence[Point]) -> None:
    """Complete trials as dots, those that racing ended early as circles, and a ring around the winner."""
    full, part = [p for p in points if not p.estimated], [p for p in points if p.estimated]
    axes.plot(
        [p.x for p in part],
        [p.y for p in part],
        "o",
        color=PALETTE["baseline"],
        markerfacecolor="none",
        markersize=6,
        label="ended early (estimate)",
    )
    axes.plot([p.x for p in full], [p.y for p in full], "o", color=PALETTE["winner"], markersize=7, label="all of dev")
    for p in points:
        if p.chosen:
            axes.plot(
                [p.x],
                [p.y],
                "o",
                color=PALETTE["bad"],
                markerfacecolor="none",
                markersize=14,
                markeredgewidth=2,
                label="chosen",
                clip_on=False,
            )


def share_chart(bars: Sequence[tuple[str, float, float]]) -> Markup:
    """A bar for each label and its share, and a tick at the share that chance would give it; both from 0 to 1."""
    return draw("shares", 62 + 34 * len(bars), 1, plot_shares, bars)


def plot_shares(axes: Axes, bars: Sequence[tuple[str, float, float]]) -> None:
    for place, (_, share, chance) in enumerate(reversed(bars)):
        colour = PALETTE["winner" if share > chance else "baseline"]
        axes.barh([place], [100 * share], color=colour, height=0.5)
        axes.plot([100 * chance] * 2, [place - 0.38, place + 0.38], color=PALETTE["bad"], linewidth=2)
    axes.set_yticks(range(len(bars)), [label for label, _, _ in reversed(bars)])
    axes.tick_params(axis="y", length=0, labelcolor=PALETTE["fg"])
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("share of importance, %")
    axes.set_xlim(0, 100)


def training_chart(losses: Sequence[tuple[int, float]], scores: Sequence[tuple[int, float]]) -> Markup:
    """The loss after each update, above the score on dev (in points) after each epoch."""
    return draw("training", 380, 2, plot_training, losses, scores)


def plot_training(
    above: Axes, below: Axes, losses: Sequence[tuple[int, float]], scores: Sequence[tuple[int, float]]
) -> None:
    above.plot([step for step, _ in losses], [loss for _, loss in losses], color=PALETTE["winner"], linewidth=1)
    above.set_ylabel("loss")
    above.set_ylim(bottom=0)
    below.plot([step for step, _ in scores], [score for _, score in scores], "o-", color=PALETTE["good"])
    for step, score in scores:
        below.annotate(f"{score:.1f}", (step, score), (0, 7), textcoords="offset points", ha="center", fontsize=11)
    below.margins(y=0.3)
    below.set_ylabel("score on dev")
    below.set_xlabel("update")
