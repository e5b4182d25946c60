import io

from rich.console import Console
from sample_documents import sample_comparison

from bwpredict.core.formatting import number
from bwpredict.reports.tables import tables, unforecastable


def printed(comparison):
    console = Console(file=io.StringIO(), width=80)
    for table in tables(comparison):
        console.print(table)
    return console.file.getvalue()


def test_the_tables_fit_80_columns_and_hold_every_target():
    text = printed(sample_comparison())
    assert "…" not in text
    for words in ("Throughput, Mbit/s", "RTT, ms", "Packet loss, %", "Jitter, ms", "Average correlation"):
        assert words in text


def test_the_guides_thresholds_and_the_last_values_figures_stand_beside_the_overall_figures():
    comparison = sample_comparison()
    lines = printed(comparison).splitlines()
    simple = comparison["models"]["last_value"]["overall"]
    for name, threshold, key in (
        ("Average correlation", "≥ 0.98", "average_correlation"),
        ("Average MAPE %", "≤ 5", "average_mape"),
        ("Accuracy %", "≥ 98", "accuracy_percent"),
    ):
        (line,) = [line for line in lines if name in line]
        assert threshold in line
        assert line.rstrip(" │┃|").endswith(number(simple[key]))


def test_undefined_figures_are_said_to_be_so():
    comparison = sample_comparison()
    row = comparison["models"]["challenger"]["per_target"]["packet_loss"]
    row |= {"correlation": None, "r2_score": None}
    line = next(line for line in printed(comparison).splitlines() if "Packet loss" in line)
    assert line.count("n/a") == 2


def test_the_intervals_have_a_table_where_there_are_some():
    comparison = sample_comparison()
    comparison["intervals"]["per_target"]["jitter_ms"] |= {"coverage": 0.8123, "mean_width": None}
    text = printed(comparison)
    assert "90% intervals on the test windows" in text
    line = next(line for line in text.splitlines() if "81.2%" in line)
    assert line.strip().startswith("Jitter ")
    assert "n/a" in line
    assert len(tables(sample_comparison(half_width=None))) == 2


def test_a_target_that_is_as_good_as_the_last_value_has_a_skill_of_0():
    figures = {"rtt_ms": {"skill": -2.95e-8, "baseline": "last_value"}}
    comparison = {"models": {"challenger": {"per_target": figures}}}
    assert unforecastable(comparison) == ["RTT: not better than the last value (skill 0)."]
