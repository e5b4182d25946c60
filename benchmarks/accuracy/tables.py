"""The results as tables for a terminal: one for each data set and set of test windows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from bwpredict.reports.format import unit_of

Document = Mapping[str, Any]

COLUMNS = (
    "target", "model", "MAPE %", "left out %", "WAPE %", "MAE", "r pooled", "r within", "skill % [95 %]",
    "gap closed %", "± seeds", "parameters", "train s", "µs/window", "place",
)  # fmt: skip


def tables(result: Document) -> Iterator[Table]:
    """A table for the test span, and one for unseen links where there are any."""
    for name, test in result["tests"].items():
        blocks = test["blocks"]
        table = Table(
            title=f"{result['dataset']}: {name} · {test['windows']:,} windows of {test['links']} links,"
            f" {result['horizon_minutes']:g} minutes ahead",
            caption=f"skill: 1 - MAE / MAE of the last value; interval: paired bootstrap over {blocks['count']} blocks"
            f" of {blocks['of']}; seeds {', '.join(map(str, result['seeds']))}",
        )
        for column in COLUMNS:
            table.add_column(
                column, justify="left" if column in {"target", "model", "place"} else "right", no_wrap=True
            )
        for target in result["targets"]:
            _add_target(table, target, test)
        yield table


def _add_target(table: Table, target: str, test: Document) -> None:
    places = {each["model"]: place_in_words(each) for each in test["verdicts"] if each["target"] == target}
    read = test["read"][target]
    label = f"{target} ({unit_of(target)})"
    for row in (row for row in test["rows"] if row["target"] == target):
        table.add_row(
            label,
            row["model"],
            "read WAPE" if read == "WAPE" else _number(row["mape"]),
            _percent(row["mape_share_left_out"]),
            _number(row["wape"]),
            _number(row["mae"]),
            _number(row["correlation"]),
            _number(row["within_link_correlation"]),
            f"{_percent(row['skill'])} [{_percent(row['skill_low'])}, {_percent(row['skill_high'])}]",
            _percent(row["gap_closed"]),
            _percent(row["skill_spread"]),
            f"{row['parameters']:,}" if row["parameters"] else "",
            f"{row['training_seconds']:.1f}",
            f"{row['inference_us']:.1f}",
            places.get(row["model"], "" if row["share_scored"] == 1 else f"answers {row['share_scored']:.0%}"),
            style="bold" if row["ours"] else None,
        )
        label = ""
    table.add_section()


def place_in_words(verdict: Document) -> str:
    """Our place, and against whom."""
    words = {"first": "first, before", "tied": "tied for first with", "beaten": "beaten by"}
    place = verdict["place"]
    return f"{words[place]} {verdict['rival']}" if place in words else "cannot be told"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"
