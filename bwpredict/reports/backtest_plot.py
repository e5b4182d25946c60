"""The backtest as one picture: skill of the frozen and of the retrained model, month by month."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bwpredict.core.formatting import display_name
from bwpredict.reports.plots import BLUE, GREY, VERMILION, figure_file, target_panels


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
