"""Charts: their text stays text, their colours follow the page, and their marks lie where the figures say."""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree

import pytest
from markupsafe import Markup

from promptstill.report import charts
from promptstill.report.charts import Interval, Point, interval_chart, search_chart, training_chart

POINTS = [Point(0, 40.0), Point(1, 20.0, estimated=True), Point(2, 60.0, chosen=True, front=True)]
NONE_FULL = [Point(0, 0.0, estimated=True), Point(1, 0.0, estimated=True)]


def test_chart_text_is_text() -> None:
    chart = interval_chart([Interval("$x^2$ <script>", 5, 1, 9, "good")], 'in "points"')
    assert "$x^2$ &lt;script&gt;" in chart and "<script" not in chart
    assert "var(--good)" in chart and not re.search(r"#[0-9a-f]{6}", chart)


def test_the_search_chart_tells_rows_evaluated_from_rows_saved() -> None:
    chart = search_chart(POINTS[:2], [40, 8], 40)
    assert "rows evaluated" in chart and "saved by racing" in chart
    heights = [float(bar.attrib["height"]) for bar in ElementTree.fromstring(chart) if bar.tag == "rect"]
    assert heights[0] == pytest.approx(5 * heights[2], rel=0.01) and heights[1] == 0
    assert heights[2] + heights[3] == pytest.approx(heights[0], rel=0.01)


def test_a_mean_lies_on_its_interval_and_zero_between_gains_of_both_signs() -> None:
    chart = interval_chart([Interval("a", 5, 1, 9, "good"), Interval("b", -4, -6, -2, "bad")], "gain", zero=True)
    parts = list(ElementTree.fromstring(chart))
    means = [float(part.attrib["cx"]) for part in parts if part.tag == "circle"]
    lines = [part.attrib for part in parts if part.tag == "polyline"]
    low, high = ([float(x) for x in re.findall(r"([\d.]+),", one["points"])] for one in lines[-2:])
    assert sum(low) / 2 == pytest.approx(means[0], abs=0.2) and sum(high) / 2 == pytest.approx(means[1], abs=0.2)
    zero = next(float(one["points"].split(",")[0]) for one in lines if "stroke-dasharray" in one)
    assert means[1] < zero < means[0] and "+5.0" in chart and "-4.0" in chart


@pytest.mark.parametrize(
    "draw",
    [
        lambda: interval_chart([], "none", zero=True),
        lambda: interval_chart([Interval("a", 0, 0, 0, "winner")], "all zero"),
        lambda: search_chart(POINTS, [40, 8, 40], 40),
        lambda: search_chart(NONE_FULL, [1, 1], 40),
        lambda: charts.tradeoff_chart(POINTS, "tokens"),
        lambda: charts.tradeoff_chart(NONE_FULL[:1], "free"),
        lambda: charts.share_chart([("layout", 1.0, 0.2), ("demos", 0.0, 1.0)]),
        lambda: training_chart([(1, 2.5), (2, float("nan"))], [(2, 50.0)]),
        lambda: training_chart([], []),
    ],
)
def test_every_chart_is_whole_whatever_its_figures(draw: Callable[[], Markup]) -> None:
    svg = ElementTree.fromstring(draw())
    assert svg.tag == "svg" and svg.find("text") is not None
    written = [value for part in svg for key, value in part.attrib.items() if not key.startswith("font")]
    assert not [value for value in written if re.search("nan|inf", value)]
