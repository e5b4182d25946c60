"""The house style of pictures, and the guide's two: the training curve, and forecasts against actual values.

Each is written as PNG, and as SVG whose colours are variables of the page that shows it, for light and dark. Drawn
with matplotlib's objects on the Agg canvas, without pyplot and its global state. The same inputs give the same bytes.
Colours are those of Okabe and Ito (2008), which all readers can tell apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps, style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from bwpredict import schema
from bwpredict.core.formatting import display_name, number, unit_of
from bwpredict.store.files import atomic_path

Values = npt.NDArray[np.float64]

BLUE, VERMILION, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#5F6670"
DOTS_PER_INCH = 120
_VARIABLES = {
    BLUE: "blue", VERMILION: "vermilion", GREEN: "green", PURPLE: "purple", GREY: "grey",
    "#E3E6EA": "grid", "#FFFFFF": "card", "#000000": "text",
}  # fmt: skip
"""Colour: the CSS variable `--picture-<name>` in its place."""
_DENSITY = ListedColormap(colormaps["cividis_r"](np.linspace(0.05, 0.75, 256)))
"""Without the ends, which are lost on a white or a dark page."""
MAX_POINTS = 2_000
"""More than this, and the density of points is drawn instead of each point."""
LOG_SCALE_FROM_RATIO = 50.0
"""A range whose high end is this many times its low end is drawn on logarithmic axes."""

_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E3E6EA",
    "grid.linewidth": 0.8,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.85,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "axes.formatter.useoffset": False,
    "svg.fonttype": "none",
}


def training_history(path: Path, history: Mapping[str, Any]) -> Path:
    """Draw a training_history document: both losses, the learning rate, the epoch that was kept."""
    records = history["records"]
    epochs, train, validation, rates = (
        np.array([record[key] for record in records], dtype=float)
        for key in ("epoch", "train_loss", "validation_loss", "learning_rate")
    )
    with figure_file(path, 9, 5.6) as figure:
        losses, steps = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        losses.plot(epochs, train, color=BLUE, marker="o", markersize=4, label="training")
        losses.plot(epochs, validation, color=VERMILION, marker="s", markersize=4, label="validation")
        steps.plot(epochs, rates, color=GREEN, marker="o", markersize=3)
        _mark_best(losses, steps, history["best_epoch"], dict(zip(epochs, validation, strict=True)))
        losses.set(ylabel="loss", title="Loss by epoch")
        losses.legend(loc="upper right")
        steps.set(xlabel="epoch", ylabel="learning rate", ylim=_from_zero(rates))
        steps.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        steps.set_xlim(epochs.min() - 0.5, epochs.max() + 0.5)
    return path


def _mark_best(losses: Axes, steps: Axes, best: int, validation: Mapping[float, float]) -> None:
    for axes in (losses, steps):
        axes.axvline(best, color=GREY, linestyle="--", linewidth=1)
    if best in validation:
        label = f"kept: epoch {best}, validation {number(validation[best])}"
        losses.plot(
            [best], [validation[best]], "o", markersize=11, fillstyle="none", color=VERMILION, mew=2, label=label
        )


def _from_zero(values: Values) -> tuple[float, float]:
    """Axis limits from zero to just above the largest value, never empty."""
    top = float(values.max())
    return 0.0, 1.15 * top if top > 0 else 1.0


def predictions_scatter(
    path: Path,
    actual: npt.ArrayLike,
    forecast: npt.ArrayLike,
    metrics: Mapping[str, Mapping[str, Any]],
    *,
    targets: Sequence[str] = schema.TARGETS,
) -> Path:
    """Draw forecasts against actual values, one panel for each target.

    Args:
        path: the PNG to write.
        actual: [n, targets], raw units, in the order of `targets`.
        forecast: the same shape. Pairs with a NaN or infinity are left out, and counted in the panel.
        metrics: per target `r2_score`, `correlation` and `mape` (percent), None where undefined; they
            are those of the comparison, so that picture and table agree.
        targets: those that were measured; the panel of any other says that there is nothing to show.
    """
    columns = [np.asarray(values, dtype=float).reshape(-1, len(targets)).T for values in (actual, forecast)]
    pairs = dict(zip(targets, zip(*columns, strict=True), strict=True))
    nothing = (np.empty(0), np.empty(0))
    with figure_file(path, 10.5, 9.6) as figure:
        for target, axes in target_panels(figure):
            _panel(figure, axes, target, *pairs.get(target, nothing))
            axes.set_title(display_name(target), pad=24)
            axes.annotate(
                _figures(metrics.get(target, {})), (0, 1), (0, 8), "axes fraction", textcoords="offset points"
            )
    return path


def _figures(metrics: Mapping[str, Any]) -> str:
    mape = metrics.get("mape")
    return (
        f"R² {number(metrics.get('r2_score'))}   correlation {number(metrics.get('correlation'))}"
        f"   MAPE {number(mape)}{'' if mape is None else ' %'}"
    )


def _panel(figure: Figure, axes: Axes, target: str, actual: Values, forecast: Values) -> None:
    unit = unit_of(target)
    axes.set(xlabel=f"actual ({unit})", ylabel=f"forecast ({unit})")
    usable = np.isfinite(actual) & np.isfinite(forecast)
    actual, forecast = actual[usable], forecast[usable]
    if len(actual) == 0:
        show_nothing(axes)
        return
    notes = [f"{int((~usable).sum())} not finite, left out"] if not usable.all() else []
    floor = schema.MAPE_FLOORS[target]
    logarithmic = _wants_log_scale(np.concatenate((actual, forecast)), floor)
    if logarithmic:
        below = int(((actual < floor) | (forecast < floor)).sum())
        notes += [f"{below} of {len(actual)} drawn at the edge, below {floor:g}"] if below else []
        actual, forecast = np.maximum(actual, floor), np.maximum(forecast, floor)
        axes.set(xscale="log", yscale="log")
    low, high = _limits(actual, forecast, logarithmic=logarithmic)
    if len(actual) > MAX_POINTS:
        _draw_density(figure, axes, actual, forecast, (low, high), logarithmic=logarithmic)
    else:
        axes.plot(actual, forecast, "o", markersize=4, alpha=0.5, color=BLUE, markeredgewidth=0)
    axes.plot([low, high], [low, high], color=VERMILION, linewidth=1.2, linestyle="--", label="forecast = actual")
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.legend(loc="upper left", title="\n".join(notes) or None, title_fontsize=9, fontsize=9, alignment="left")


def _draw_density(
    figure: Figure, axes: Axes, actual: Values, forecast: Values, limits: tuple[float, float], *, logarithmic: bool
) -> None:
    extent = tuple(np.log10(limits)) * 2 if logarithmic else limits * 2
    scale: Literal["linear", "log"] = "log" if logarithmic else "linear"
    cells = axes.hexbin(
        actual,
        forecast,
        gridsize=55,
        extent=extent,
        xscale=scale,
        yscale=scale,
        mincnt=1,
        cmap=_DENSITY,
        linewidths=0.1,
        norm=LogNorm(vmin=1, vmax=max(10, len(actual) / 100), clip=True),
    )
    figure.colorbar(cells, ax=axes, shrink=0.75, pad=0.02, extend="max", label="windows per cell")


def _wants_log_scale(values: Values, floor: float) -> bool:
    """Whether the middle 99 % of the values above the floor spans enough decades to need it."""
    positive = values[values >= floor]
    if len(positive) < len(values) / 2:
        return False
    low, high = np.quantile(positive, [0.005, 0.995])
    return bool(high / low > LOG_SCALE_FROM_RATIO)


def _limits(actual: Values, forecast: Values, *, logarithmic: bool) -> tuple[float, float]:
    """Axis limits around all values with some air, never empty; the same on both axes."""
    low = float(min(actual.min(), forecast.min()))
    high = float(max(actual.max(), forecast.max()))
    if logarithmic:
        air = (high / low) ** 0.04
        return low / air, high * air
    air = 0.04 * (high - low) or max(abs(high), 1.0) * 0.1
    return low - air, high + air


def show_nothing(axes: Axes) -> None:
    """Say in a panel that there are no values to show."""
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, "no values to show", transform=axes.transAxes, ha="center", va="center", color=GREY)


def target_panels(figure: Figure) -> Iterator[tuple[str, Axes]]:
    """Each target with its panel, two in a row."""
    count = len(schema.TARGETS)
    panels = figure.subplots((count + 1) // 2, 2).ravel()
    for panel in panels[count:]:
        panel.set_axis_off()
    return zip(schema.TARGETS, panels, strict=False)


@contextmanager
def figure_file(path: Path, width_inches: float, height_inches: float) -> Iterator[Figure]:
    """A figure in the house style, written after the block to `path` (PNG) and beside it as SVG, each whole or not."""
    with style.context([_STYLE, {"svg.hashsalt": f"picture {path.stem}"}], after_reset=True):
        layout = ConstrainedLayoutEngine()
        figure = Figure(figsize=(width_inches, height_inches), dpi=DOTS_PER_INCH, layout=layout)
        FigureCanvasAgg(figure)
        yield figure
        layout.execute(figure)
        figure.set_layout_engine(None)  # with one, `savefig` lays the figure out anew and draws it twice
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format="png", metadata={"Software": None})
        drawn = StringIO()
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None})
        with atomic_path(path.with_suffix(".svg")) as temporary:
            temporary.write_text(_for_a_page(drawn.getvalue()), "utf-8")


def _for_a_page(svg: str) -> str:
    """The SVG element alone, with colours as variables, and without the ids that another picture may have, too."""
    element = svg[svg.index("<svg") :]
    element = re.sub(r"<style.*?</style>", "", element, flags=re.DOTALL)  # its rule applies to the whole page
    element = re.sub(r' id="[a-zA-Z0-9.]+_\d+"', "", element)  # IDs of groups; nothing refers to them
    for colour, name in _VARIABLES.items():
        element = element.replace(f": {colour.lower()}", f": var(--picture-{name}, {colour.lower()})")
    return element
