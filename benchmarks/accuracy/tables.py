"""The results as tables for a terminal: accuracy on each set of test windows, and what each model takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from accuracy.scores import PERSISTENCE
from bwpredict.core.formatting import number

Document = Mapping[str, Any]

ACCURACY = (
    "target", "model", "MAPE %", "left out %", "WAPE %", "MAE", "r pooled", "r within", "skill % [95 %]",
    "± seeds", "gap closed %", "place", "its lead [95 %]",
)  # fmt: skip
COST = ("model", "parameters", "training s", "µs/window", "chosen by validation")
_WORDS = {"target", "model", "place", "chosen by validation"}


def tables(result: Document) -> Iterator[Table]:
    """A table for the test span, one for unseen links where there are any, and one of the models."""
    for name, test in result["tests"].items():
        blocks = test["blocks"]
        table = _table(
            f"{result['dataset']}: {name} · {test['windows']:,} windows of {test['links']} links,"
            f" {result['horizon_minutes']:g} minutes ahead",
            f"skill: 1 - MAE / MAE of the last value; interval: paired bootstrap over {blocks['count']} blocks"
            f" of {blocks['of']}; seeds {', '.join(map(str, result['seeds']))};"
            " lead of the rival that decides the place: its skill less ours, in points",
            ACCURACY,
        )
        for target in result["targets"]:
            _add_target(table, target, test)
        yield table
    yield _cost_table(result)


def _table(title: str, caption: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, caption=caption)
    for column in columns:
        table.add_column(column, justify="left" if column in _WORDS else "right", no_wrap=True)
    return table


def _add_target(table: Table, target: str, test: Document) -> None:
    verdicts = {each["model"]: each for each in test["verdicts"] if each["target"] == target}
    last = next(row["mae"] for row in test["rows"] if row["target"] == target and row["model"] == PERSISTENCE)
    label = target
    for row in (row for row in test["rows"] if row["target"] == target):
        answers, verdict = row["share_scored"], verdicts.get(row["model"])
        table.add_row(
            label,
            row["model"],
            "read WAPE" if test["read"][target] == "WAPE" else number(row["mape"]),
            _percent(row["mape_share_left_out"]),
            number(row["wape"]),
            number(row["mae"]),
            number(row["correlation"], 3),
            number(row["within_link_correlation"], 3),
            f"{_percent(row['skill'])} [{_percent(row['skill_low'])}, {_percent(row['skill_high'])}]",
            "" if row["skill_spread"] is None else _percent(row["skill_spread"]),
            "" if row["gap_closed"] is None else _percent(row["gap_closed"]),
            place_in_words(verdict) if verdict else "" if answers == 1 else f"answers {answers:.0%}",
            _lead(verdict, last) if verdict else "",
            style="bold" if row["ours"] else None,
        )
        label = ""
    table.add_section()


def _cost_table(result: Document) -> Table:
    budget = result["budget"]
    table = _table(
        f"{result['dataset']}: what each model takes",
        f"rivals: at most {budget['epochs']} x {budget['windows']:,} training windows; ours: as it trains by itself;"
        " seconds: mean over seeds; µs: in batches, from rows in memory to forecasts",
        COST,
    )
    for row in result["models"]:
        table.add_row(
            row["model"],
            f"{row['parameters']:,}" if row["parameters"] else "",
            f"{row['training_seconds']:.1f}",
            f"{row['inference_us']:.1f}",
            "; ".join(dict.fromkeys(row["choices"])),
            style="bold" if row["ours"] else None,
        )
    table.columns[-1].no_wrap = False
    return table


def place_in_words(verdict: Document) -> str:
    """Our place, and against whom."""
    words = {"first": "first, before", "tied": "tied for first with", "beaten": "beaten by"}
    place = verdict["place"]
    return f"{words[place]} {verdict['rival']}" if place in words else "unknown"


def _lead(verdict: Document, last_value_mae: float) -> str:
    """The rival's skill less ours and its interval, in points; empty without a rival."""
    if verdict["difference"] is None or not last_value_mae:
        return ""
    estimate, low, high = (
        _percent(round(verdict["difference"][key] / last_value_mae, 4) + 0.0) for key in ("estimate", "low", "high")
    )
    return f"{estimate} [{low}, {high}]"


def _percent(share: float | None) -> str:
    if share is None:
        return "n/a"
    return f"{100 * share:.1f}" if abs(share) < 1 else f"{100 * share:,.0f}"
