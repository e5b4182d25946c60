"""The results as one picture: skill over persistence with its interval, a panel for each data set and target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from accuracy.scores import ORACLE, PERSISTENCE
from accuracy.tables import place_in_words
from bwpredict import schema
from bwpredict.core.formatting import display_name
from bwpredict.reports.plots import BLUE, GREY, VERMILION
from bwpredict.store.files import atomic_path

Document = Mapping[str, Any]

WORST_SHOWN = -0.6
"""Skill below this is drawn at the edge, as an arrow."""
_ROW_INCHES, _PANEL_WIDTH_INCHES = 0.23, 4.3


def draw(path: Path, results: Sequence[Document]) -> Path:
    """Write the PNG: a row of panels for each data set and set of test windows."""
    tests = [(result, name, test) for result in results for name, test in result["tests"].items()]
    models = list(dict.fromkeys(row["model"] for _, _, test in tests for row in test["rows"]))
    models = [name for name in models if name != PERSISTENCE]
    height = _ROW_INCHES * len(models) + 1.0
    figure = Figure(
        figsize=(_PANEL_WIDTH_INCHES * len(schema.TARGETS) + 1.5, height * len(tests) + 0.6), layout="constrained"
    )
    FigureCanvasAgg(figure)
    figure.suptitle(
        "Skill over persistence: 1 − MAE ÷ MAE of the last value, with 95 % intervals; right is better",
        fontsize=13, fontweight="bold",
    )  # fmt: skip
    panels = figure.subplots(len(tests), len(schema.TARGETS), squeeze=False)
    for line, (result, name, test) in zip(panels, tests, strict=True):
        for axes, target in zip(line, schema.TARGETS, strict=True):
            _panel(axes, target, test, models)
            axes.set_title(
                f"{result['dataset']}, {name}: {display_name(target)}", fontsize=10, fontweight="bold", loc="left"
            )
        line[0].set_yticks(range(len(models)), models, fontsize=9)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=90, metadata={"Software": None})
    return path


def _panel(axes: Axes, target: str, test: Document, models: list[str]) -> None:
    axes.set(ylim=(len(models) - 0.4, -0.6))
    axes.set_yticks(range(len(models)), [])
    axes.spines[["top", "right"]].set_visible(False)
    rows = {row["model"]: row for row in test["rows"] if row["target"] == target and row["skill"] is not None}
    if not rows:
        axes.set_xticks([])
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color=GREY)
        return
    axes.grid(axis="x", color="#E3E6EA", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.axvline(0, color=GREY, linewidth=1)
    for place, name in enumerate(models):
        if name in rows:
            _point(axes, place, rows[name])
        elif name != ORACLE:
            axes.text(
                0.01, place, "no forecast", transform=axes.get_yaxis_transform(), va="center", color=GREY, fontsize=8
            )
    axes.set_xlabel(f"skill (%)\n{_places(target, test)}", fontsize=9)
    axes.set_xlim(*_limits(list(rows.values())))


def _point(axes: Axes, place: int, row: Document) -> None:
    colour = VERMILION if row["ours"] else GREY if row["model"] == ORACLE else BLUE
    if row["skill"] < WORST_SHOWN:
        axes.plot(100 * WORST_SHOWN, place, "<", color=colour, markersize=6, clip_on=False)
        axes.text(100 * WORST_SHOWN + 3, place, f"{100 * row['skill']:.0f}", va="center", fontsize=8, color=colour)
        return
    if row["skill_low"] is not None:
        low, high = np.clip([row["skill_low"], row["skill_high"]], WORST_SHOWN, 1) * 100
        axes.plot([low, high], [place, place], color=colour, linewidth=1.6)
    axes.plot(100 * row["skill"], place, "D" if row["model"] == ORACLE else "o", color=colour, markersize=5)


def _limits(rows: list[Document]) -> tuple[float, float]:
    shown = [row[key] for row in rows for key in ("skill", "skill_low", "skill_high") if row[key] is not None]
    low, high = max(WORST_SHOWN, min(0.0, *shown)), max(0.05, *shown)
    air = 0.06 * (high - low)
    return 100 * (low - air), 100 * (min(1.0, high) + air)


def _places(target: str, test: Document) -> str:
    """Our place in words, for each row that is ours."""
    ours = [each for each in test["verdicts"] if each["target"] == target]
    return "\n".join(f"{each['model']}: {place_in_words(each)}" for each in ours)


def draw_lines(path: Path, rows: Sequence[Document]) -> Path:
    """Write the PNG: WAPE of each model over horizon (above) and window (below), a column for each target."""
    figure = Figure(figsize=(_PANEL_WIDTH_INCHES * len(schema.TARGETS), 7.5), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, len(schema.TARGETS), squeeze=False)
    axes_of = (("horizon_minutes", "minutes ahead", "window_size", schema.WINDOW_SIZE),
               ("window_size", "samples in the window", "horizon_minutes", schema.HORIZON_MINUTES))  # fmt: skip
    for line, (along, label, fixed, value) in zip(panels, axes_of, strict=True):
        chosen = [row for row in rows if row[fixed] == value and row["wape"] is not None]
        for axes, target in zip(line, schema.TARGETS, strict=True):
            _lines(axes, [row for row in chosen if row["target"] == target], along)
            axes.set(xlabel=label, ylabel="WAPE (%)")
            axes.set_title(
                f"{display_name(target)} over {along.partition('_')[0]}", fontsize=10, fontweight="bold", loc="left"
            )
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=90, metadata={"Software": None})
    return path


_RIVAL_COLOURS = (BLUE, "#56B4E9", "#009E73", "#E69F00", "#CC79A7", "#882255", "#117733")
"""Told apart by all readers (Okabe and Ito, Tol)."""


def _lines(axes: Axes, rows: Sequence[Document], along: str) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#E3E6EA", linewidth=0.8)
    rivals = iter(_RIVAL_COLOURS * 2)
    for model in dict.fromkeys(row["model"] for row in rows):
        points = sorted((row[along], row["wape"]) for row in rows if row["model"] == model)
        ours = any(row["ours"] for row in rows if row["model"] == model)
        colour = VERMILION if ours else GREY if model == ORACLE else next(rivals)
        line = "--" if model == ORACLE else "-"
        axes.plot(
            *zip(*points, strict=True),
            line,
            marker="o",
            markersize=4,
            color=colour,
            linewidth=2.4 if ours else 1.3,
            label=model,
        )
    axes.set_ylim(bottom=0)
