"""The months as a picture: how far each way of deciding falls behind, added up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bwpredict.reports.plots import BLUE, GREEN, GREY, PURPLE, VERMILION
from bwpredict.store.files import atomic_path
from year.arms import ALWAYS, ESTIMATE, EXPECTED, GATE, NEVER, Move

COLOURS = {GATE: BLUE, EXPECTED: PURPLE, ALWAYS: VERMILION, NEVER: GREY, ESTIMATE: GREEN}


def draw(
    path: Path, excess: Mapping[str, Sequence[float]], moves: Mapping[str, Sequence[Move]], events: Mapping[str, str]
) -> Path:
    """Write the PNG: the added-up excess of each arm over the months served, with what happened in them.

    Args:
        path: of the file.
        excess: arm → percent above the best candidate in each month that was served.
        moves: of each arm.
        events: month → what happened in it; the first one is only trained on.
    """
    months = list(events)
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for arm, each in excess.items():
        total = np.cumsum(each)
        axes.plot(range(1, len(each) + 1), total, color=COLOURS[arm], linewidth=2.6 if arm == GATE else 1.6)
        axes.annotate(
            f"{arm} {total[-1]:.0f}", (len(each), total[-1]), xytext=(6, 0), textcoords="offset points",
            color=COLOURS[arm], va="center", fontweight="bold" if arm == GATE else "normal",
        )  # fmt: skip
    promoted = [place + 1 for place, move in enumerate(moves[GATE]) if move.outcome in ("bootstrap", "promote")]
    shown = [place for place in promoted if place < len(months)]
    totals = np.concatenate([[0.0], np.cumsum(excess[GATE])])
    axes.plot(shown, totals[shown], "o", color=COLOURS[GATE], label="the gate published: the model serves from here on")
    axes.set_xticks(
        range(len(months)),
        [f"{month}  {what}" if what else month for month, what in events.items()],
        rotation=60, ha="right", rotation_mode="anchor", fontsize=8,
    )  # fmt: skip
    axes.set(xlim=(0, len(months) + 2.5), ylim=(0, None), ylabel="percent, added up over the months")
    axes.set_title("Error above that of the best challenger in hindsight", loc="left", fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, axis="y", alpha=0.3)
    axes.legend(frameon=False, loc="upper left")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=90, metadata={"Software": None})
    return path


def summary_rows(rows: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The arms, the one that lost least first."""
    ordered = sorted(rows, key=lambda arm: rows[arm]["error above the best, added up %"])
    return [{"arm": arm, **rows[arm]} for arm in ordered]
