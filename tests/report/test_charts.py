"""Line charts: where values, errors and marks lie."""

import math
import re

import pytest

from lightning_explain.report.charts import Line, chart


def test_the_band_of_a_curve_is_its_error_on_both_sides() -> None:
    made = chart("drift", [Line("all", [(0, 1.0, 0.5), (1, 2.0, 0.25)])])
    assert made is not None
    band = re.search(r'<path d="M([^"]*)Z" class="band"', made.code)
    assert band is not None
    heights = [float(point.split()[1]) for point in band[1].split("L")]
    lows = [float(y) for y in re.findall(r'cy="([^"]*)"', made.code)]
    unit = lows[0] - lows[1]  # the two values are one apart
    upper, lower = heights[:2], heights[:1:-1]
    assert [(y - top) / unit for y, top in zip(lows, upper, strict=True)] == pytest.approx([0.5, 0.25], abs=0.01)
    assert [(bottom - y) / unit for y, bottom in zip(lows, lower, strict=True)] == pytest.approx([0.5, 0.25], abs=0.01)


def test_a_chart_is_logarithmic_where_one_value_dwarfs_the_others() -> None:
    def heights(values: list[float]) -> list[float]:
        made = chart("drift", [Line("all", [(k, value, 0.0) for k, value in enumerate(values)])])
        assert made is not None
        return [float(part.split('"')[0]) for part in made.code.split('cy="')[1:]]

    falling = heights([1.0, 0.1, 0.01, 0.01])
    assert falling[1] - falling[0] == pytest.approx(falling[2] - falling[1], abs=0.2)
    even = heights([0.4, 0.3, 0.2, 0.1])
    assert even[1] - even[0] == pytest.approx(even[3] - even[2], abs=0.2)
    assert heights([math.nan, 0.5]) == heights([0.5])
    assert chart("nothing", [Line("all", [(0, math.nan, math.nan)])]) is None
