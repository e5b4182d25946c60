from hypothesis import given
from hypothesis import strategies as st

from bwpredict.reports.svg_chart import HEIGHT, WIDTH, line_chart

FIGURES = st.lists(st.none() | st.floats(-1e6, 1e6), min_size=1, max_size=30)


@given(FIGURES)
def test_every_defined_value_is_a_point_within_the_box_and_higher_values_stand_higher(values):
    chart = line_chart("Skill", [f"v{number}" for number in range(len(values))], {"Skill": values})
    defined = [value for value in values if value is not None]
    assert (chart is None) == (not defined)
    if chart is None:
        return
    points = chart.series[0].points
    assert len(points) == len(defined)
    assert all(0 <= point.x <= WIDTH and 0 <= point.y <= HEIGHT for point in points)
    for value, point in zip(defined, points, strict=True):
        assert all(other.y <= point.y for more, other in zip(defined, points, strict=True) if more > value)


def test_a_line_is_broken_where_a_value_is_undefined():
    chart = line_chart("Skill", ["v1", "v2", "v3", "v4"], {"Skill": [0.1, 0.2, None, 0.3]})
    assert [part[0] for part in chart.series[0].path.split(" ") if part[0] in "ML"] == ["M", "L", "M"]


def test_a_single_version_has_a_chart():
    chart = line_chart("MAPE", ["v1"], {"MAPE": [4.2]}, unit="%")
    assert chart.series[0].points[0].label == "MAPE, v1: 4.2 %"
    assert [text for _, text, _ in chart.columns] == ["v1"]


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_the_axis_has_round_ticks_around_all_values(low, span):
    chart = line_chart("Skill", ["v1", "v2"], {"Skill": [low, low + span]})
    ticks = [float(text.replace(",", "")) for _, text in chart.ticks]
    assert 2 <= len(ticks) <= 8
    assert len({text for _, text in chart.ticks}) == len(ticks)
    step = ticks[1] - ticks[0]
    assert ticks[0] - 1e-6 * abs(low) - 1e-9 <= low
    assert low + span <= ticks[-1] + 1e-6 * abs(low + span) + 1e-9
    assert f"{step:.0e}"[0] in "125"


def test_months_stand_below_and_a_threshold_is_a_line_within_the_chart():
    months = [f"2026-{month:02}" for month in range(1, 13)]
    values = {"MAPE": [2.0 + month / 10 for month in range(12)]}
    chart = line_chart(
        "MAPE", [f"v{name}" for name in months], values, axis=months, limits={"guide: 5 %": 5, "no": None}
    )
    assert [text for _, text, _ in chart.columns][::4] == ["2026-01", "2026-12"]
    ((y, text),) = chart.limits
    assert text == "guide: 5 %"
    assert all(y < point.y for point in chart.series[0].points)


def test_an_axis_of_zeros_alone_has_short_texts():
    chart = line_chart("Shifted, %", ["v1", "v2"], {"Shifted": [0.0, 0.0]}, limits={"": 0.0})
    assert [text for _, text in chart.ticks] == ["0.0", "0.5"]
