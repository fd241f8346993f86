"""The charts of the pages: intervals, the search, score against cost, shares of importance, a training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite

from markupsafe import Markup

from promptstill.report.plot import (
    WIDTH,
    Axes,
    Mark,
    bar,
    dot,
    figure,
    legend,
    line,
    name_rows,
    name_width,
    padded,
    ring,
    text,
    x_axis,
    y_axis,
)

LEFT, RIGHT = 58.0, WIDTH - 12.0  # of axes with numbers on the left
ROW = 34  # the height of a row with a name
FOOT = 40  # the height of ticks and label below axes
EARLY: tuple[Mark, str, str] = ("ring", "baseline", "ended early (estimate)")
FULL: tuple[Mark, str, str] = ("dot", "winner", "all of dev")
CHOSEN: tuple[Mark, str, str] = ("ring", "bad", "chosen")


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


def interval_chart(bars: Sequence[Interval], label: str, *, zero: bool = False) -> Markup:
    """Means as dots on their intervals, a row each. `zero`: they are differences, and a line marks zero."""
    ends = [end for bar in bars for end in (bar.low, bar.high)]
    low, high = padded([*ends, 0.0])
    # Only a score such as Matthews' correlation lies below zero.
    span = (low, high) if zero or min(ends) < 0 else (-0.04 * max(*ends, 1.0), high)
    axes = row_axes([bar.label for bar in bars], span)
    parts = [x_axis(axes, label), name_rows(axes, [bar.label for bar in bars])]
    if zero:
        parts.append(line([axes.place(0, axes.y[0]), axes.place(0, axes.y[1])], "soft", 1.2, stroke_dasharray="4 3"))
    for row, one in enumerate(bars):
        ends_of = [axes.place(one.low, row), axes.place(one.high, row)]
        parts.append(line(ends_of, one.colour, 5, stroke_opacity=0.45, stroke_linecap="round"))
        x, y = axes.place(one.mean, row)
        parts += [dot((x, y), one.colour, 4.5), text((x, y - 9), f"{one.mean:{'+' if zero else ''}.1f}", colour="fg")]
    return figure(axes.bottom + FOOT, *parts)


def row_axes(names: Sequence[str], span: tuple[float, float]) -> Axes:
    """Axes with a row for each name, the first at the top."""
    bottom = 12.0 + ROW * len(names)
    return Axes(name_width(names), WIDTH - 20.0, 8.0, bottom, span, (len(names) - 0.5, -0.65))


def search_chart(points: Sequence[Point], rows: Sequence[int], full: int) -> Markup:
    """The score of each trial, above the dev rows it was evaluated on, of `full`."""
    span = padded([points[0].x - 0.5, points[-1].x + 0.5], 0.02)
    above = Axes(LEFT, RIGHT, 42.0, 226.0, span, padded([point.y for point in points]))
    below = Axes(LEFT, RIGHT, 260.0, 378.0, span, (0.0, 1.05 * full))
    complete = [point for point in points if not point.estimated]
    best = [(p.x, max(q.y for q in complete if q.x <= p.x)) for p in complete]
    parts = [y_axis(above, "score on dev"), line(steps(above, best), "winner", 1), *scatter(above, points)]
    parts.append(legend(LEFT, 4, [EARLY, FULL, ("line", "winner", "best so far"), *chosen(points)]))
    parts += [y_axis(below, "dev rows"), x_axis(below, "trial", whole=True, grid=False)]
    for point, count in zip(points, rows, strict=True):
        left, right = point.x - 0.35, point.x + 0.35
        parts.append(bar(below.place(left, 0), below.place(right, count), "winner"))
        parts.append(bar(below.place(left, count), below.place(right, full), "line"))
    parts.append(legend(LEFT, 238, [("bar", "winner", "rows evaluated"), ("bar", "line", "saved by racing")]))
    return figure(below.bottom + FOOT, *parts)


def tradeoff_chart(points: Sequence[Point], label: str) -> Markup:
    """Score against a cost, with the Pareto front as a line and a ring around the winner."""
    costs = (0.0, 1.05 * max(point.x for point in points) or 1.0)
    axes = Axes(LEFT, RIGHT, 42.0, 296.0, costs, padded([point.y for point in points]))
    front = sorted((point.x, point.y) for point in points if point.front)
    parts = [y_axis(axes, "score on dev"), x_axis(axes, label), line(steps(axes, front), "good", 1.5)]
    parts += scatter(axes, points)
    parts.append(legend(LEFT, 4, [("line", "good", "Pareto front"), EARLY, FULL, *chosen(points)]))
    return figure(axes.bottom + FOOT, *parts)


def steps(axes: Axes, values: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The places of a line that keeps each value until the next one."""
    places = [axes.place(x, y) for x, y in values]
    corners = [[(x, before), (x, y)] for (_, before), (x, y) in pairwise(places)]
    return [*places[:1], *(place for pair in corners for place in pair)]


def scatter(axes: Axes, points: Sequence[Point]) -> list[str]:
    """Complete trials as dots, those that racing ended early as circles, and a ring around the winner."""
    places = [(point, axes.place(point.x, point.y)) for point in points]
    early = [ring(place, "baseline", 3) for point, place in places if point.estimated]
    full = [dot(place, "winner", 3.5) for point, place in places if not point.estimated]
    return [*early, *full, *(ring(place, "bad", 7, 2) for point, place in places if point.chosen)]


def chosen(points: Sequence[Point]) -> list[tuple[Mark, str, str]]:
    """The legend's entry for the winner, where it is among the points."""
    return [CHOSEN] if any(point.chosen for point in points) else []


def share_chart(bars: Sequence[tuple[str, float, float]]) -> Markup:
    """A bar for each label and its share, and a tick at the share that chance would give it; both from 0 to 1."""
    names = [name for name, _, _ in bars]
    axes = row_axes(names, (0.0, 100.0))
    parts = [x_axis(axes, "share of importance, %"), name_rows(axes, names)]
    for row, (_, share, chance) in enumerate(bars):
        colour = "winner" if share > chance else "baseline"
        parts.append(bar(axes.place(0, row - 0.25), axes.place(100 * share, row + 0.25), colour))
        parts.append(line([axes.place(100 * chance, row - 0.38), axes.place(100 * chance, row + 0.38)], "bad", 2))
    return figure(axes.bottom + FOOT, *parts)


def training_chart(losses: Sequence[tuple[int, float]], scores: Sequence[tuple[int, float]]) -> Markup:
    """The loss after each update, above the score on dev (in points) after each epoch."""
    losses = [one for one in losses if isfinite(one[1])]
    updates = padded([step for step, _ in [*losses, *scores]] or [0], 0.03)
    above = Axes(LEFT, RIGHT, 12.0, 170.0, updates, (0.0, 1.05 * max([loss for _, loss in losses], default=0) or 1.0))
    below = Axes(LEFT, RIGHT, 192.0, 338.0, updates, padded([score for _, score in scores] or [0.0], 0.3))
    parts = [y_axis(above, "loss"), line([above.place(*loss) for loss in losses], "winner", 1)]
    parts += [y_axis(below, "score on dev"), x_axis(below, "update", whole=True, grid=False)]
    parts.append(line([below.place(*score) for score in scores], "good", 1.5))
    for step, score in scores:
        x, y = below.place(step, score)
        parts += [dot((x, y), "good", 3), text((x, y - 8), f"{score:.1f}", colour="fg")]
    return figure(below.bottom + FOOT, *parts)
