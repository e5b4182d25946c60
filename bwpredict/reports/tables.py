"""The training guide's tables: every target's figures, and the overall ones, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich import box
from rich.table import Table

from bwpredict.core.formatting import UNDEFINED, display_name, number, quantity, readable_unit
from bwpredict.core.guide import GUIDE_ACCURACY_PERCENT, GUIDE_CORRELATION, GUIDE_MAPE_PERCENT
from bwpredict.evaluation.baselines import baseline_label, baseline_phrase


@dataclass(frozen=True)
class Metric:
    """A figure of one model on one target: its key in the comparison, its label, and which way is better."""

    key: str
    label: str
    better: Literal["low", "high"]
    decimals: int | None = None
    """None: three significant digits, for figures in the target's own unit."""

    def text(self, figures: Mapping[str, Any]) -> str:
        """The figure as people read it; "n/a" where it is undefined."""
        value = figures.get(self.key)
        if value is None:
            return UNDEFINED
        return f"{value:#.3g}".rstrip(".") if self.decimals is None else f"{value:.{self.decimals}f}"


METRICS = (
    Metric("mae", "MAE", "low"),
    Metric("rmse", "RMSE", "low"),
    Metric("mape", "MAPE %", "low", 2),
    Metric("r2_score", "R²", "high", 4),
    Metric("correlation", "Correlation", "high", 4),
    Metric("within_link_correlation", "Within link", "high", 3),
    Metric("skill", "Skill", "high", 3),
)
"""The guide's five, the correlation within links (median), and the skill against the best baseline."""

INTERVAL_COLUMNS = ("Target", "Coverage", "Mean width", "Lowest slice", "Highest slice")
MIN_SLICE_WINDOWS = 100
"""A slice with fewer windows says little of its coverage."""


def tables(comparison: Mapping[str, Any], *, model: str = "challenger") -> tuple[Table, ...]:
    """One model's tables, to print with rich on 80 columns: per target, overall, and its intervals if it has any."""
    figures = comparison["models"][model]
    per_target = _table(f"{model_label(model)} on the test windows", ("Target", *(metric.label for metric in METRICS)))
    for target, row in figures["per_target"].items():
        shown = readable_figures(row, target)
        per_target.add_row(f"{display_name(target)}, {readable_unit(target)[1]}", *(one.text(shown) for one in METRICS))
    baselines = (
        f"{display_name(name)}: {model_label(row.get('baseline'))}" for name, row in figures["per_target"].items()
    )
    per_target.caption = f"Skill against: {'; '.join(baselines)}.{_left_out(figures['per_target'])}"
    overall = _table("Overall", ("Figure", "Value", "Guide", "Last value"))
    for line in overall_rows(figures["overall"], comparison["models"]["last_value"]["overall"]):
        overall.add_row(*line)
    intervals = comparison["intervals"]
    if model != "challenger" or intervals is None:
        return per_target, overall
    held = _table(f"{intervals['level']:.0%} intervals on the test windows", INTERVAL_COLUMNS)
    for row in interval_rows(intervals):
        held.add_row(*row)
    return per_target, overall, held


def readable_figures(figures: Mapping[str, Any], target: str) -> dict[str, Any]:
    """The figures with errors in the unit that people read: those of shares in percent."""
    factor = readable_unit(target)[0]
    return {**figures, **{key: figures[key] * factor for key in ("mae", "rmse") if figures.get(key) is not None}}


def _left_out(per_target: Mapping[str, Any]) -> str:
    """In words, the share of each target's samples that are below the floor of the MAPE; nothing if none does."""
    shares = {name: row.get("mape_share_left_out") for name, row in per_target.items()}
    told = [f"{display_name(name)} {100 * share:.3g} %" for name, share in shares.items() if share]
    return f" Below the floor and not in the MAPE: {', '.join(told)}." if told else ""


def _table(title: str, columns: Sequence[str]) -> Table:
    """A table whose first column is text, and the others numbers."""
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    table.title_justify = table.caption_justify = "left"
    for place, column in enumerate(columns):
        table.add_column(column.replace(" ", "\n"), justify="right" if place else "left", no_wrap=not place)
    return table


def overall_rows(overall: Mapping[str, Any], last_value: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Name, value, the guide's threshold, and the last value's figure: repeating it comes close to the guide, too."""
    rows = (
        ("Average correlation", "average_correlation", f"≥ {GUIDE_CORRELATION}"),
        ("Average MAPE %", "average_mape", f"≤ {GUIDE_MAPE_PERCENT:g}"),
        ("Accuracy %", "accuracy_percent", f"≥ {GUIDE_ACCURACY_PERCENT:g}"),
    )
    for name, key, threshold in rows:
        yield name, number(overall[key]), threshold, number(last_value[key])


def interval_rows(intervals: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Of each target the cells for `INTERVAL_COLUMNS`: its coverage, and in which slices it is farthest off."""
    for target, figures in intervals["per_target"].items():
        slices = sorted(
            (row[target], f"{display_name(attribute)} {value} {row[target]:.1%}")
            for attribute, values in intervals["slices"].items()
            for value, row in values.items()
            if row[target] is not None and row["windows"] >= MIN_SLICE_WINDOWS
        )
        extremes = (slices[0][1], slices[-1][1]) if slices else (UNDEFINED, UNDEFINED)
        share = figures["coverage"]
        covered = UNDEFINED if share is None else f"{share:.1%}"
        yield display_name(target), covered, quantity(figures["mean_width"], target, 3), *extremes


def model_names(comparison: Mapping[str, Any]) -> list[str]:
    """The models of a comparison: challenger, champion if there is one, then the baselines."""
    first = [name for name in ("challenger", "champion") if name in comparison["models"]]
    return first + [name for name in comparison["models"] if name not in first]


def model_label(name: str | None) -> str:
    """A model's or baseline's name for people."""
    return UNDEFINED if name is None else baseline_label(name).capitalize().replace("minutes", "min")


def unforecastable(comparison: Mapping[str, Any]) -> list[str]:
    """A sentence for each target that the challenger does not forecast better than the best simple forecast."""
    told = []
    for compared, mode in ((comparison, ""), (comparison.get("stream"), " as a stream")):
        for target, figures in compared["models"]["challenger"]["per_target"].items() if compared else ():
            skill, baseline = figures.get("skill"), figures.get("baseline")
            if skill is not None and skill <= 0:
                simple = baseline_phrase(baseline) if baseline else "its baseline"
                gained = number(round(skill, 3) + 0.0, 3)  # never -0
                told.append(f"{display_name(target)}{mode}: not better than {simple} (skill {gained}).")
    return told


def best_of(metric: Metric, values: list[float | None]) -> float | None:
    """The best of the values that are defined."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return min(known) if metric.better == "low" else max(known)
