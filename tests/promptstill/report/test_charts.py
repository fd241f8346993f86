"""Charts: their text stays text, and their colours follow the page."""

from __future__ import annotations

import re

from promptstill.report.charts import Interval, Point, interval_chart, search_chart


def test_chart_text_is_text() -> None:
    chart = interval_chart("odd", [Interval("$x^2$ <script>", 5, 1, 9, "good")], "points")
    assert "$x^2$ &lt;script&gt;" in chart and "<script" not in chart
    assert "var(--good)" in chart and not re.search(r"#[0-9a-f]{6}", chart.replace("#000000", ""))


def test_the_search_chart_tells_rows_evaluated_from_rows_saved() -> None:
    chart = search_chart([Point(0, 40.0), Point(1, 20.0, estimated=True)], [40, 8], 40)
    assert "rows evaluated" in chart and "saved by racing" in chart
