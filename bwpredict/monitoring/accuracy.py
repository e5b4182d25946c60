"""How accurate models were on a day: the figures of each, on all links and on the links of one arm."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bwpredict import schema
from bwpredict.core.formatting import undefined_as_none
from bwpredict.evaluation.baselines import REFERENCES
from bwpredict.evaluation.forecasts import Forecasts
from bwpredict.evaluation.metrics import (
    Metric,
    Truth,
    correlation,
    mae,
    mape,
    rmse,
    skill_over,
    wape,
    within_link_correlation,
)
from bwpredict.registry.canary_assignment import assign_arm

Document = dict[str, Any]
Rows = npt.NDArray[np.bool_]

METRICS: dict[str, Metric] = {
    "mae": mae,
    "rmse": rmse,
    "wape_percent": wape,
    "mape_percent": mape,
    "correlation": correlation,
    "within_link_correlation": within_link_correlation,
}


def figures(forecasts: Forecasts, model: str, rows: Rows | None = None) -> Document:
    """target → metric → value of one model, over the chosen windows; None where undefined or not measured.

    `skill` is measured against the best simple forecast of these windows, whose name is `baseline`.
    """
    chosen = np.ones(len(forecasts), dtype=bool) if rows is None else rows
    floors = np.array([schema.MAPE_FLOORS[name] for name in forecasts.targets])
    truth = Truth(forecasts.actual, forecasts.link, floors).rows(chosen)
    own = forecasts.models[model][chosen]
    best = _best_references(forecasts, truth, chosen)
    reference = np.stack([forecasts.models[name][chosen, place] for place, name in enumerate(best)], axis=1)
    columns = {name: metric(truth, own) for name, metric in {**METRICS, "skill": skill_over(reference)}.items()}
    document: Document = {target: dict.fromkeys((*columns, "baseline")) for target in schema.TARGETS}
    for place, target in enumerate(forecasts.targets):
        document[target] = {name: undefined_as_none(column[place]) for name, column in columns.items()} | {
            "baseline": best[place]
        }
    return document


def canary_rows(forecasts: Forecasts, share: float) -> Rows:
    """[n], whether the window's link is served by the canary."""
    keys = forecasts.links[list(schema.LINK_KEY)].to_numpy()
    served = np.array([assign_arm(int(node), int(peer), share) == "canary" for node, peer in keys], dtype=bool)
    rows: Rows = served[forecasts.link]
    return rows


def log_error_ratio(figures_of: Document, figures_against: Document) -> float | None:
    """Mean over the targets of log(MAE / MAE of the other): negative is better; None where no target has both."""
    logs = [
        np.log(figures_of[target]["mae"] / figures_against[target]["mae"])
        for target in schema.TARGETS
        if figures_of[target]["mae"] and figures_against[target]["mae"]
    ]
    return undefined_as_none(np.mean(logs)) if logs else None


def _best_references(forecasts: Forecasts, truth: Truth, rows: Rows) -> list[str]:
    """For each target the simple forecast with the smallest MAE; the first where none has one."""
    errors = np.stack([mae(truth, forecasts.models[name][rows]) for name in REFERENCES])
    return [REFERENCES[int(np.nan_to_num(column, nan=np.inf).argmin())] for column in errors.T]
