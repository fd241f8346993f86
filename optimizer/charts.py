"""The pages' charts, as inline SVG drawn by Matplotlib: no script, and colours that follow the page's light or dark.

Matplotlib draws with the light palette; each colour is then replaced by its CSS variable. Figures are sized in CSS
pixels so that their text stays readable when a phone shrinks them. Text is never read as mathematics or markup.
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
    "seed": "#7b8794",
    "dspy": "#b5651d",
    "winner": "#0b6bcb",
    "good": "#1a7f37",
    "bad": "#c6282f",
}
WIDTH = 470
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
    """A mean with its interval, in points, under a label; `ink` is a colour of PALETTE."""

    label: str
    mean: float
    low: float
    high: float
    ink: str


@dataclass(frozen=True)
class Point:
    """A trial in a chart: `y` in points; `estimated` where racing ended it early."""

    x: float
    y: float
    estimated: bool = False
    chosen: bool = False
    front: bool = False


def draw(name: str, height: int, rows: int, plot: Callable[..., None], *values: Any) -> Markup:
    """A figure of `rows` axes above each other, as SVG for a page; `name` keeps its ids apart from others'."""
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(WIDTH / 72, height / 72), layout="constrained")
        axes = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
        plot(*axes, *values)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return Markup(page_svg(file.getvalue()))


def page_svg(text: str) -> str:
    """A stand-alone SVG made part of a page: no prolog, no ids but the referenced ones, colours by CSS variable."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style type=.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r' id="[A-Za-z]\w*_\d+"', "", text)
    text = re.sub(r'^<svg [^>]*viewBox="([^"]+)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true">', text)
    for name, colour in PALETTE.items():
        text = text.replace(colour, f"var(--{name})")
    return re.sub(r"\n\s*", "\n", text)


def intervals(name: str, bars: Sequence[Interval], label: str, *, zero: bool = False) -> Markup:
    """Means as dots on their intervals, a line each; `zero` marks where there is no difference."""
    return draw(name, 62 + 34 * len(bars), 1, plot_intervals, bars, label, zero)


def plot_intervals(axes: Axes, bars: Sequence[Interval], label: str, zero: bool) -> None:
    for place, bar in enumerate(reversed(bars)):
        ink = PALETTE[bar.ink]
        axes.plot([bar.low, bar.high], [place, place], color=ink, linewidth=5, alpha=0.45, solid_capstyle="round")
        axes.plot([bar.mean], [place], "o", color=ink, markersize=9, clip_on=False, zorder=3)
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


def search(points: Sequence[Point], bought: Sequence[int], full: int) -> Markup:
    """Score by trial above the dev rows that each trial was given and spared."""
    return draw("search", 420, 2, plot_search, points, bought, full)


def plot_search(above: Axes, below: Axes, points: Sequence[Point], bought: Sequence[int], full: int) -> None:
    scatter(above, points)
    complete = [point for point in points if not point.estimated]
    best = [max(p.y for p in complete if p.x <= point.x) for point in complete]
    above.step([p.x for p in complete], best, where="post", color=PALETTE["winner"], linewidth=1, label="best so far")
    above.set_ylabel("score on dev")
    legend(above)
    x = [point.x for point in points]
    below.bar(x, bought, color=PALETTE["winner"], width=0.7, label="rows bought")
    below.bar(x, [full - n for n in bought], bottom=bought, color=PALETTE["line"], width=0.7, label="saved by racing")
    below.grid(visible=False, axis="x")
    below.set_ylabel("dev rows")
    below.set_xlabel("trial")
    legend(below)
    below.xaxis.set_major_locator(MaxNLocator(integer=True))


def tradeoff(name: str, points: Sequence[Point], label: str) -> Markup:
    """Score against a price, with the Pareto front as a line and the chosen trial ringed."""
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
    """Above the axes, where it hides no point."""
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)


def scatter(axes: Axes, points: Sequence[Point]) -> None:
    """Complete trials as dots, those that racing ended as circles, the chosen one ringed."""
    full, part = [p for p in points if not p.estimated], [p for p in points if p.estimated]
    axes.plot(
        [p.x for p in part],
        [p.y for p in part],
        "o",
        color=PALETTE["seed"],
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


def shares(bars: Sequence[tuple[str, float, float]]) -> Markup:
    """Label, share and chance's share (both 0 to 1), a bar each with chance as a tick."""
    return draw("shares", 62 + 34 * len(bars), 1, plot_shares, bars)


def plot_shares(axes: Axes, bars: Sequence[tuple[str, float, float]]) -> None:
    for place, (_, share, chance) in enumerate(reversed(bars)):
        ink = PALETTE["winner" if share > chance else "seed"]
        axes.barh([place], [100 * share], color=ink, height=0.5)
        axes.plot([100 * chance] * 2, [place - 0.38, place + 0.38], color=PALETTE["bad"], linewidth=2)
    axes.set_yticks(range(len(bars)), [label for label, _, _ in reversed(bars)])
    axes.tick_params(axis="y", length=0, labelcolor=PALETTE["fg"])
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("share of importance, %")
    axes.set_xlim(0, 100)


def training(losses: Sequence[tuple[int, float]], scores: Sequence[tuple[int, float]]) -> Markup:
    """The loss by update, above the score on dev (in points) after each epoch."""
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
