"""Pictures of forecasts: links over a day, errors, how far ahead simple forecasts reach, and a backtest."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import MaxNLocator

from bwpredict import schema
from bwpredict.core.formatting import display_name, link_name, number, readable_unit
from bwpredict.datasets.windows import DAY_SECONDS
from bwpredict.evaluation.baselines import baseline_label
from bwpredict.evaluation.forecasts import Forecasts
from bwpredict.inference.onnx_model import Bounds
from bwpredict.reports.plots import BLUE, GREEN, GREY, PURPLE, VERMILION, figure_file, show_nothing, target_panels

Values = npt.NDArray[np.float64]

RANKS = {"best": "Best link", "median": "Median link", "worst": "Worst link"}
_MODELS = {"challenger": (BLUE, "challenger"), "champion": (VERMILION, "champion")}
_BASELINE_STYLES = ((GREY, "-"), (GREEN, "--"), (PURPLE, ":"))
_GAP_STEPS = 3
"""Lines are broken where this many usual steps are missing."""
_SHOWN_SHARE = 0.99
_BINS = 81


def link_forecasts(
    path: Path, target: str, forecasts: Forecasts, links: Mapping[str, Mapping[str, Any]], bounds: Bounds | None
) -> Path:
    """Draw what was forecast and the actual values on the last test day of some links, by skill on `target`.

    Args:
        path: the PNG to write.
        target: one of the forecasts' targets.
        forecasts: n windows.
        links: this target's part of the comparison's `links`, or some of its ranks.
        bounds: of the challenger's forecasts, [n, 4]; None: it has none.
    """
    place, (factor, unit) = forecasts.targets.index(target), readable_unit(target)
    shown = [rank for rank in RANKS if rank in links]
    with figure_file(path, 10.5, 2.6 * max(1, len(shown)) + 0.4) as figure:
        panels = figure.subplots(max(1, len(shown)), 1, squeeze=False)[:, 0]
        for rank, axes in zip(shown, panels, strict=False):
            link = links[rank]
            rows = _last_day(forecasts, link)
            if bounds is not None:
                whole = schema.TARGETS.index(target)
                sides = (factor * side[rows, whole] for side in (bounds.lower, bounds.upper))
                band = [_broken(forecasts.timestamps[rows], side) for side in sides]
                axes.fill_between(
                    *band[0], band[1][1], color=BLUE, alpha=0.15, linewidth=0, label=f"{bounds.level:.0%} interval"
                )
            _lines(axes, forecasts, rows, place, factor)
            title = f"{RANKS[rank]}: {link_name(link)}, skill {number(link['skill'], 3)}"
            axes.set(title=title, ylabel=unit)
            locator = AutoDateLocator(tz=UTC)  # type: ignore[no-untyped-call]
            axes.xaxis.set_major_locator(locator)
            axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))  # type: ignore[no-untyped-call]
        if shown:
            panels[0].legend(loc="upper left", ncols=4, fontsize=9, bbox_to_anchor=(0, 1.0))
            panels[-1].set_xlabel("UTC")
        else:
            show_nothing(panels[0])
    return path


def _lines(axes: Axes, forecasts: Forecasts, rows: npt.NDArray[np.int64], place: int, factor: float) -> None:
    times = forecasts.timestamps[rows]
    axes.plot(*_broken(times, factor * forecasts.actual[rows, place]), color="black", linewidth=0.9, label="actual")
    for name, (colour, label) in reversed(_MODELS.items()):
        if name in forecasts.models:
            values = factor * forecasts.models[name][rows, place]
            axes.plot(*_broken(times, values), color=colour, linewidth=1.1, alpha=0.9, label=label)


def _last_day(forecasts: Forecasts, link: Mapping[str, Any]) -> npt.NDArray[np.int64]:
    """Rows of the link's last 24 hours of test windows, in time."""
    keys = forecasts.links[list(schema.LINK_KEY)].to_numpy()
    (number_of,) = np.flatnonzero((keys == [link[key] for key in schema.LINK_KEY]).all(axis=1))
    rows = np.flatnonzero(forecasts.link == number_of)
    rows = rows[np.argsort(forecasts.timestamps[rows])]
    recent = forecasts.timestamps[rows] > forecasts.timestamps[rows[-1]] - DAY_SECONDS
    return np.asarray(rows[recent], dtype=np.int64)


def _broken(times: npt.NDArray[np.int64], values: Any) -> tuple[Any, Values]:
    """Times and values of a line that is broken at gaps."""
    steps = np.diff(times)
    gaps = np.flatnonzero(steps > _GAP_STEPS * np.median(steps)) + 1 if len(steps) else np.empty(0, np.int64)
    moments = [datetime.fromtimestamp(int(second), UTC) for second in np.insert(times, gaps, times[gaps - 1] + 1)]
    return moments, np.insert(np.asarray(values, dtype=float), gaps, np.nan)


def residuals(path: Path, forecasts: Forecasts) -> Path:
    """Draw how the errors (forecast less actual) of challenger and champion are distributed, one panel a target."""
    with figure_file(path, 10.5, 7.2) as figure:
        for target, axes in target_panels(figure):
            axes.set(
                title=display_name(target),
                xlabel=f"forecast less actual ({readable_unit(target)[1]})",
                ylabel="share of windows",
            )
            if target not in forecasts.targets:
                show_nothing(axes)
                continue
            place = forecasts.targets.index(target)
            errors = {
                name: np.subtract(forecasts.models[name][:, place], forecasts.actual[:, place], dtype=np.float64)
                for name in _MODELS
                if name in forecasts.models
            }
            _distribution(
                axes, {name: readable_unit(target)[0] * values[np.isfinite(values)] for name, values in errors.items()}
            )
    return path


def _distribution(axes: Axes, errors: Mapping[str, Values]) -> None:
    everything = np.abs(np.concatenate(list(errors.values())))
    edge = float(np.quantile(everything, _SHOWN_SHARE)) if len(everything) else 0.0
    if edge == 0:
        show_nothing(axes)
        return
    for name, values in errors.items():
        colour, label = _MODELS[name]
        weights = np.full(len(values), 1 / len(values))
        median = f"{label}, median {number(float(np.median(values)), 2)}"
        axes.hist(
            values,
            bins=_BINS,
            range=(-edge, edge),
            weights=weights,
            histtype="step",
            color=colour,
            linewidth=1.5,
            label=median,
        )
    axes.axvline(0, color=GREY, linewidth=1)
    axes.legend(fontsize=9, title=f"{_SHOWN_SHARE:.0%} of the errors are shown", title_fontsize=9, alignment="left")
    axes.set_ylim(top=axes.get_ylim()[1] * 1.35)


def horizon(path: Path, comparison: Mapping[str, Any], horizon_minutes: float) -> Path:
    """Draw the simple forecasts' MAE over the horizon, and the models' at their one horizon."""
    minutes = comparison["horizon"]["minutes"]
    with figure_file(path, 10.5, 7.2) as figure:
        for target, axes in target_panels(figure):
            factor, unit = readable_unit(target)
            axes.set(title=display_name(target), xlabel="minutes ahead", ylabel=f"MAE ({unit})")
            if target not in comparison["targets"]:
                show_nothing(axes)
                continue
            for name, (colour, line) in zip(comparison["horizon"]["mae"], cycle(_BASELINE_STYLES), strict=False):
                mae = [np.nan if one is None else factor * one for one in comparison["horizon"]["mae"][name][target]]
                axes.plot(minutes, mae, color=colour, linestyle=line, label=baseline_label(name))
            for name, (colour, label) in reversed(_MODELS.items()):
                mae_there = comparison["models"].get(name, {}).get("per_target", {}).get(target, {}).get("mae")
                if mae_there is not None:
                    axes.plot([horizon_minutes], [factor * mae_there], "o", color=colour, markersize=8, label=label)
                    axes.axhline(factor * mae_there, color=colour, linewidth=0.8, alpha=0.5)
            axes.set_ylim(bottom=0)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        shown = next((axes for axes in figure.axes if axes.get_legend_handles_labels()[1]), None)
        if shown:
            shown.legend(fontsize=9, loc="lower right")
    return path


def skill_by_month(path: Path, document: Mapping[str, Any]) -> Path:
    """Draw a `backtest` document: a panel for each target, a line for each of the two models; up is better."""
    months = [row["month"] for row in document["months"]]
    places = range(len(months))
    with figure_file(path, 10.5, 7.2) as figure:
        for target, axes in target_panels(figure):
            for name, colour, mark in (("frozen", VERMILION, "s"), ("retrained", BLUE, "o")):
                skills = [row["per_target"].get(target, {}).get(f"{name}_skill") for row in document["months"]]
                values = [np.nan if skill is None else skill for skill in skills]
                label = f"frozen: trained on {document['frozen_month']}" if name == "frozen" else "retrained monthly"
                axes.plot(places, values, color=colour, marker=mark, label=label)
            axes.axhline(0, color=GREY, linewidth=1, linestyle="--")
            axes.set(
                title=display_name(target), ylabel="skill over the best baseline", xlabel="month that was forecast"
            )
            axes.set_xticks(places, months)
        figure.axes[0].legend(fontsize=9)
    return path
